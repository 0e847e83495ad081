"""OpenAI's /v1/responses on loopback, which records what it is sent (a fake: it has no model)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loopback import serve_json


@dataclass
class ResponsesServer:
    """Where it is, what it answers and what it was asked; ``calls`` are tool calls to answer with first."""

    url: str = ""
    answer: str = "a red bus"
    calls: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, path: str, request: dict[str, Any]) -> tuple[str, bytes]:
        assert path == "/v1/responses", path
        self.requests.append(request)
        text = {"type": "output_text", "text": self.answer, "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
        item = {"type": "function_call", "status": "completed", **self.calls.pop(0)} if self.calls else message
        answer = {
            "id": "resp_1",
            "object": "response",
            "created_at": 0,
            "status": "completed",
            "model": request["model"],
            "output": [item],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        return "application/json", json.dumps(answer).encode()


@contextmanager
def serve_responses() -> Iterator[ResponsesServer]:
    """Run the server until the block ends."""
    server = ResponsesServer()
    with serve_json(server.reply) as address:
        server.url = f"{address}/v1"
        yield server
