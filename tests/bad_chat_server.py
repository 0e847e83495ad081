"""An OpenAI-compatible chat server on loopback that fails as it is told to (a fake: it has no model)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback import running


@dataclass
class BadChatServer:
    """How the server fails.

    Attributes:
        url: where it is.
        status: HTTP status of its answer; 200 begins a stream with ``words``.
        message: what it says of the error.
        code: the error's code, as OpenAI has them.
        words: what it says before the stream fails.
        hangs: whether the stream then hangs, until ``go`` is set; if not, the connection breaks off.
        go: lets hanging requests end.
        requests: how many came.
    """

    url: str = ""
    status: int = 200
    message: str = "no"
    code: str | None = None
    words: str = ""
    hangs: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    requests: int = 0


@contextmanager
def serve_badly() -> Iterator[BadChatServer]:
    """Run the server until the block ends."""
    state = BadChatServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            state.requests += 1
            if state.status != 200:
                error = {"message": state.message, "type": "error", "param": None, "code": state.code}
                self._send(json.dumps({"error": error}).encode())
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if state.words:
                event = f"data: {json.dumps(_chunk(state.words))}\n\n".encode()
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            if state.hangs:
                state.go.wait(60)
            self.close_connection = True

        def _send(self, body: bytes) -> None:
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output clean."""

    with running(Handler) as address:
        state.url = f"{address}/v1"
        try:
            yield state
        finally:
            state.go.set()


def _chunk(words: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", "content": words}, "finish_reason": None}
    return {"id": "chat-1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
