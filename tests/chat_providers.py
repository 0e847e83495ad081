"""The chat models of LangChain's real packages, each before a loopback server, and what they send in common words.

A part that a server was sent is (role, kind, value): kind "text", "image" (a data URI) or "url" (of an image). Anything
else in a part, such as a key that only LangChain knows, is refused here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

Part = tuple[str, str, str]


@dataclass
class Provider:
    """A chat model and the server that it talks to."""

    name: str
    model: Any
    server: Any

    @property
    def seen(self) -> list[Part]:
        """Every part of the last request, in the order in which the model would read it."""
        return list(_READERS[self.name](self.server.requests[-1]))

    def will_call(self, name: str, arguments: dict[str, Any], call_id: str = "call_1") -> None:
        """Let the server answer the next request with a call of a tool."""
        text = json.dumps(arguments)
        self.server.calls.append(
            {
                "openai": {"id": call_id, "function": {"name": name, "arguments": text}},
                "responses": {"id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": text},
                "anthropic": {"id": call_id, "name": name, "input": arguments},
                "google": {"name": name, "args": arguments},
            }[self.name]
        )


PROVIDERS = ["openai", "anthropic", "google"]


@contextmanager
def serve_provider(name: str) -> Iterator[Provider]:
    """Run a provider's server until the block ends."""
    if name in ("openai", "responses"):
        pytest.importorskip("langchain_openai")
        from langchain_openai import ChatOpenAI

        from chat_server import serve_chat
        from responses_server import serve_responses

        with serve_responses() if name == "responses" else serve_chat() as server:
            model = ChatOpenAI(
                model="vision", base_url=server.url, api_key="x", max_retries=0, use_responses_api=name == "responses"
            )
            yield Provider(name, model, server)
    elif name == "anthropic":
        pytest.importorskip("langchain_anthropic")
        from langchain_anthropic import ChatAnthropic

        from anthropic_server import serve_anthropic

        with serve_anthropic() as server:
            model = ChatAnthropic(model="vision", base_url=server.url, api_key="x", max_retries=0, max_tokens=99)
            yield Provider(name, model, server)
    else:
        pytest.importorskip("langchain_google_genai")
        from langchain_google_genai import ChatGoogleGenerativeAI

        from google_server import serve_google

        with serve_google() as server:
            # With a key of its own the client looks for no other credentials.
            model = ChatGoogleGenerativeAI(
                model="vision", base_url=server.url, google_api_key="x", max_retries=0, vertexai=False
            )
            yield Provider(name, model, server)


def _openai(request: dict[str, Any]) -> Iterator[Part]:
    for message in request["messages"]:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
            if part["type"] == "image_url":
                assert set(part) == {"type", "image_url"}
                assert set(part["image_url"]) == {"url"}
                yield message["role"], *_address(part["image_url"]["url"])
            else:
                assert set(part) == {"type", "text"}, part
                yield message["role"], "text", part["text"]


def _responses(request: dict[str, Any]) -> Iterator[Part]:
    for item in request["input"]:
        if item.get("type") == "function_call":
            continue
        tool = item.get("type") == "function_call_output"
        content = item["output"] if tool else item["content"]
        role = "tool" if tool else item["role"]
        for part in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "input_image":
                yield role, *_address(part["image_url"])
            else:
                assert part["type"] in ("input_text", "output_text"), part
                yield role, "text", part["text"]


def _anthropic(request: dict[str, Any]) -> Iterator[Part]:
    system = request.get("system", [])
    for part in [{"type": "text", "text": system}] if isinstance(system, str) else system:
        yield "system", "text", part["text"]
    for message in request["messages"]:
        content = message["content"]
        yield from _anthropic_parts(
            message["role"], [{"type": "text", "text": content}] if isinstance(content, str) else content
        )


def _anthropic_parts(role: str, parts: list[dict[str, Any]]) -> Iterator[Part]:
    for part in parts:
        if part["type"] == "tool_result":
            yield from _anthropic_parts("tool", part["content"])
        elif part["type"] == "image":
            assert set(part) == {"type", "source"}, part
            source = part["source"]
            if source["type"] == "url":
                yield role, "url", source["url"]
            else:
                assert set(source) == {"type", "media_type", "data"}
                assert source["type"] == "base64"
                yield role, "image", f"data:{source['media_type']};base64,{source['data']}"
        elif part["type"] != "tool_use":
            assert set(part) == {"type", "text"}, part
            yield role, "text", part["text"]


def _google(request: dict[str, Any]) -> Iterator[Part]:
    for part in request.get("systemInstruction", {}).get("parts", []):
        yield "system", "text", part["text"]
    for content in request["contents"]:
        role = {"user": "user", "model": "assistant"}.get(content["role"], content["role"])
        for part in content["parts"]:
            if "inlineData" in part:
                blob = part["inlineData"]
                # Google's JSON takes both alphabets of base64; its client writes the one for URLs.
                data = base64.b64encode(base64.urlsafe_b64decode(blob["data"])).decode()
                yield role, "image", f"data:{blob['mime_type']};base64,{data}"
            elif "functionResponse" in part:
                for block in part["functionResponse"]["response"]["output"]:
                    assert set(block) == {"type", "text"}, block
                    yield "tool", "text", block["text"]
            elif "functionCall" not in part:
                yield role, "text", part["text"]


def _address(url: str) -> tuple[str, str]:
    return ("image" if url.startswith("data:") else "url"), url


_READERS = {"openai": _openai, "responses": _responses, "anthropic": _anthropic, "google": _google}
