"""Answers over LangChain's real clients of Anthropic and Google, against servers on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("langchain")
pytest.importorskip("PIL")

from PIL import Image

from anthropic_server import serve_anthropic
from bad_chat_server import BadChatServer
from commonscale.answering import ChatModelAnswerer, Request, Turn
from commonscale.answering.chat_model import _says_why_it_ends
from commonscale.core.errors import AnswererError
from commonscale.prompting import Pictures, Prompt, PromptBuilder, PromptItem
from google_server import serve_google

KEY = "my-own-key-of-odd-shape"
NAMES = ["anthropic:claude-sonnet-5", "google_genai:gemini-3.5-flash"]
TEXTS = ["<documents>", "[1] a bus passes", "[2]", "picture", "[3] the sea", "</documents>\n\nQuestion: what color?"]


@pytest.fixture
def request_made(tmp_path: Path) -> Request:
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "red.png")
    items = [
        PromptItem("words", "text", "a bus passes"),
        PromptItem("picture", "image", picture=tmp_path / "red.png"),
        PromptItem("more", "text", "the sea"),
    ]
    prompt: Prompt = PromptBuilder(pictures=Pictures([tmp_path])).build(items)
    return Request("what color?", prompt, (Turn("where is it?", "on the bus [2]"),))


def answerer(name: str, url: str) -> ChatModelAnswerer:
    return ChatModelAnswerer.from_name(name, base_url=url, api_key=KEY, max_retries=0)


def test_that_an_answer_has_ended_is_read_from_what_each_provider_says(request_made: Request) -> None:
    pytest.importorskip("langchain_anthropic")
    pytest.importorskip("langchain_google_genai")
    for name, serve in zip(NAMES, (serve_anthropic, serve_google), strict=True):
        with serve() as server:
            asked = answerer(name, server.url)
            chunks = list(asked.model.stream("what color?"))
        assert [_says_why_it_ends(chunk) for chunk in chunks].count(True) == 1


def test_anthropic(request_made: Request) -> None:
    pytest.importorskip("langchain_anthropic")
    with serve_anthropic() as server:
        assert list(answerer(NAMES[0], server.url).stream(request_made)) == ["a", " red", " bus"]
    sent = server.requests[-1]
    assert "Cite after each statement" in str(sent["system"])
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    parts = sent["messages"][-1]["content"]
    assert [part.get("text", "picture") for part in parts] == TEXTS
    (picture,) = [part["source"] for part in parts if part["type"] == "image"]
    assert picture["type"] == "base64"
    assert picture["media_type"] in ("image/png", "image/jpeg")


def test_google(request_made: Request) -> None:
    pytest.importorskip("langchain_google_genai")
    with serve_google() as server:
        assert list(answerer(NAMES[1], server.url).stream(request_made)) == ["a", " red", " bus"]
    sent = server.requests[-1]
    assert "Cite after each statement" in str(sent["systemInstruction"])
    assert [content["role"] for content in sent["contents"]] == ["user", "model", "user"]
    parts = sent["contents"][-1]["parts"]
    assert [part.get("text", "picture") for part in parts] == TEXTS
    (picture,) = [part["inlineData"] for part in parts if "inlineData" in part]
    assert picture.get("mimeType", picture.get("mime_type")) in ("image/png", "image/jpeg")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (401, f"invalid key {KEY}", r"refuses the API key \(HTTP 401\); set the environment variable \w+_API_KEY"),
        (404, "no such model", r"is not known at 'http://127.0.0.1:\d+' \(HTTP 404: no such model\)"),
        (429, "slow down", r"is asked too often at the moment \(HTTP 429: slow down\)"),
        (400, "prompt is too long: 9 tokens > 8 maximum", "is too long for"),
        (500, f"cannot use {KEY} here", r"has a problem of its own \(HTTP 500: cannot use \[hidden\] here\)"),
        (200, "", "broke off before the answer was whole"),
    ],
)
def test_refusals_are_sentences(
    bad_server: BadChatServer, request_made: Request, name: str, status: int, message: str, said: str
) -> None:
    pytest.importorskip(f"langchain_{name.partition(':')[0]}")
    bad_server.status, bad_server.message = status, message
    with pytest.raises(AnswererError, match=said) as caught:
        list(answerer(name, bad_server.url.removesuffix("/v1")).stream(request_made))
    assert name in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_is_not_there(request_made: Request, name: str) -> None:
    pytest.importorskip(f"langchain_{name.partition(':')[0]}")
    with pytest.raises(AnswererError, match=r"cannot be reached at 'http://127.0.0.1:9'"):
        list(answerer(name, "http://127.0.0.1:9").stream(request_made))
