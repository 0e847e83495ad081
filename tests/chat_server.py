"""A small OpenAI-compatible chat server on loopback that records what it is sent (a fake: it has no model)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """The running server: where it is, what it answers and what it was asked."""

    url: str = ""
    answer: str = "a red bus"
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def content(self) -> list[dict[str, Any]]:
        """Every content part of the last request's messages, in order; plain strings as text parts."""
        parts: list[dict[str, Any]] = []
        for message in self.requests[-1]["messages"]:
            content = message["content"]
            parts.extend([{"type": "text", "text": content}] if isinstance(content, str) else content)
        return parts


@contextmanager
def serve_chat() -> Iterator[ChatServer]:
    """Run the server on a free loopback port until the block ends."""
    state = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(request)
            if request.get("stream"):
                self._reply("text/event-stream", _events(request["model"], state.answer))
            else:
                self._reply("application/json", json.dumps(_completion(request["model"], state.answer)).encode())

        def _reply(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(model: str, answer: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer}
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _events(model: str, answer: str) -> bytes:
    chunks = [{"role": "assistant", "content": word} for word in answer.split(" ")]
    for chunk in chunks[1:]:
        chunk["content"] = " " + chunk["content"]
    base = {"id": "chat-1", "object": "chat.completion.chunk", "created": 0, "model": model}
    events = [{**base, "choices": [{"index": 0, "delta": c, "finish_reason": None}]} for c in chunks]
    events.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return "".join(f"data: {json.dumps(e)}\n\n" for e in events).encode() + b"data: [DONE]\n\n"
