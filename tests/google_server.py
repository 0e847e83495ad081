"""Google's generateContent on loopback, which records what it is sent (a fake: it has no model)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loopback import events, pieces, serve_json


@dataclass
class GoogleServer:
    """Where it is, what it answers and what it was asked; ``calls`` are tool calls to answer with first."""

    url: str = ""
    answer: str = "a red bus"
    calls: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def reply(self, path: str, request: dict[str, Any]) -> tuple[str, bytes]:
        method = path.partition("?")[0].rpartition(":")[2]
        assert method in ("generateContent", "streamGenerateContent"), path
        self.requests.append(request)
        part = {"functionCall": self.calls.pop(0)} if self.calls else {"text": self.answer}
        if method == "generateContent":
            return "application/json", json.dumps(_answer(part, "STOP")).encode()
        chunks = [_answer({"text": piece}, None) for piece in pieces(self.answer)]
        chunks[-1]["candidates"][0]["finishReason"] = "STOP"
        return "text/event-stream", events([("", chunk) for chunk in chunks])


@contextmanager
def serve_google() -> Iterator[GoogleServer]:
    """Run the server until the block ends."""
    server = GoogleServer()
    with serve_json(server.reply) as server.url:
        yield server


def _answer(part: dict[str, Any], reason: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [part]}}
    if reason:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "vision"}
