"""Anthropic's /v1/messages on loopback, which records what it is sent (a fake: it has no model)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loopback import events, pieces, serve_json


@dataclass
class AnthropicServer:
    """Where it is, what it answers and what it was asked; ``calls`` are tool calls to answer with first."""

    url: str = ""
    answer: str = "a red bus"
    calls: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, path: str, request: dict[str, Any]) -> tuple[str, bytes]:
        assert path == "/v1/messages", path
        self.requests.append(request)
        if self.calls:
            block = {"type": "tool_use", **self.calls.pop(0)}
            return "application/json", json.dumps(_message(request, [block], "tool_use")).encode()
        if request.get("stream"):
            return "text/event-stream", _stream(request, self.answer)
        whole = _message(request, [{"type": "text", "text": self.answer}], "end_turn")
        return "application/json", json.dumps(whole).encode()


@contextmanager
def serve_anthropic() -> Iterator[AnthropicServer]:
    """Run the server until the block ends."""
    server = AnthropicServer()
    with serve_json(server.reply) as server.url:
        yield server


def _message(request: dict[str, Any], content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    common = {"id": "msg_1", "type": "message", "role": "assistant", "model": request["model"]}
    return {**common, "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}


def _stream(request: dict[str, Any], answer: str) -> bytes:
    chunks: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message(request, [], None)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces(answer)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    return events([(chunk["type"], chunk) for chunk in chunks])
