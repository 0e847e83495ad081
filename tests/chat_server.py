"""A small OpenAI-compatible chat server on loopback that records what it is sent (a fake: it has no model)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loopback import serve_json


@dataclass
class ChatServer:
    """The running server: where it is, what it answers and what it was asked; tool ``calls`` are answered first.

    Streams end with a reason for it, unless ``ends`` is false: then the server just closes them.
    """

    url: str = ""
    answer: str = "a red bus"
    ends: bool = True
    calls: list[dict[str, Any]] = field(default_factory=list)
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

    def reply(path: str, request: dict[str, Any]) -> tuple[str, bytes]:
        state.requests.append(request)
        if state.calls:
            call = {"type": "function", **state.calls.pop(0)}
            return "application/json", json.dumps(_completion(request["model"], None, [call])).encode()
        if request.get("stream"):
            return "text/event-stream", _events(request["model"], state.answer, state.ends)
        return "application/json", json.dumps(_completion(request["model"], state.answer)).encode()

    with serve_json(reply) as address:
        state.url = f"{address}/v1"
        yield state


def _completion(model: str, answer: str | None, calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer, **({"tool_calls": calls} if calls else {})}
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _events(model: str, answer: str, ends: bool) -> bytes:
    chunks = [{"role": "assistant", "content": word} for word in answer.split(" ")]
    for chunk in chunks[1:]:
        chunk["content"] = " " + chunk["content"]
    base = {"id": "chat-1", "object": "chat.completion.chunk", "created": 0, "model": model}
    events = [{**base, "choices": [{"index": 0, "delta": c, "finish_reason": None}]} for c in chunks]
    if ends:
        events.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return "".join(f"data: {json.dumps(e)}\n\n" for e in events).encode() + (b"data: [DONE]\n\n" if ends else b"")
