"""Answers over LlamaIndex's real client of OpenAI-like servers, against a server on loopback."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.llms.openai_like")
pytest.importorskip("PIL")

from llama_index.core.llms import MockLLM
from llama_index.llms.openai_like import OpenAILike
from openai import DefaultAsyncHttpxClient
from PIL import Image

from bad_chat_server import BadChatServer
from chat_server import ChatServer
from commonscale.answering import AsyncAnswerer, Condenser, LlamaIndexAnswerer, Request, Turn
from commonscale.core.errors import AnswererError
from commonscale.prompting import Pictures, PreparedPicture, Prompt, PromptBuilder, PromptItem, SentItem

HISTORY = (Turn("where is it?", "on the bus [2]"),)
KEY = "my-own-key-of-odd-shape"


def answerer(url: str, client: Any = None, **named: Any) -> LlamaIndexAnswerer:
    llm = OpenAILike(
        model="vision", api_base=url, api_key=KEY, is_chat_model=True, max_retries=0, async_http_client=client
    )
    return LlamaIndexAnswerer(llm, **named)


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    """A client that is closed with its loop, which LlamaIndex's own are not."""
    async with DefaultAsyncHttpxClient() as opened:
        yield opened


@pytest.fixture
def prompt(tmp_path: Path) -> Prompt:
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "red.png")
    items = [
        PromptItem("words", "text", "a bus passes"),
        PromptItem("picture", "image", picture=tmp_path / "red.png"),
    ]
    return PromptBuilder(pictures=Pictures([tmp_path])).build(items)


async def test_documents_are_sent_in_order_with_labels_beside_their_content(
    chat_server: ChatServer, prompt: Prompt, client: Any
) -> None:
    chat_server.answer = "a red bus [2]"
    asked = answerer(chat_server.url, client)
    assert isinstance(asked, (AsyncAnswerer, Condenser))
    assert asked.name == "OpenAILike vision"
    request = Request("what color?", prompt, HISTORY)
    assert list(asked.stream(request)) == ["a", " red", " bus", " [2]"]
    assert [piece async for piece in asked.astream(request)] == ["a", " red", " bus", " [2]"]
    assert chat_server.requests[0] == chat_server.requests[1]
    system, question, answer, user = chat_server.requests[0]["messages"]
    assert "Cite after each statement" in system["content"]
    assert (question["content"], answer["content"]) == ("where is it?", "on the bus")
    texts = [part.get("text", "picture") for part in user["content"]]
    assert texts == ["<documents>\n\n[1] a bus passes\n\n[2]", "picture", "</documents>\n\nQuestion: what color?"]
    (uri,) = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        assert picture.size == (1024, 512)


def test_texts_alone_do_not_run_together(chat_server: ChatServer) -> None:
    prompt = PromptBuilder().build([PromptItem("a", "text", "a bus"), PromptItem("b", "text", "a boat")])
    list(answerer(chat_server.url).stream(Request("what?", prompt)))
    sent = "<documents>\n\n[1] a bus\n\n[2] a boat\n\n</documents>\n\nQuestion: what?"
    assert chat_server.requests[-1]["messages"][-1]["content"] == sent


def test_addresses_are_passed_on(chat_server: ChatServer) -> None:
    picture = PreparedPicture(url="https://example.org/bus.png")
    sent = SentItem(1, PromptItem("bus", "image"), picture, 1, "")
    list(answerer(chat_server.url).stream(Request("what color?", Prompt((sent,)))))
    assert [part["image_url"]["url"] for part in chat_server.content if part["type"] == "image_url"] == [picture.url]


def test_a_follow_up_question_is_condensed(chat_server: ChatServer) -> None:
    chat_server.answer = "where is the bus?"
    assert answerer(chat_server.url).condense("and that?", HISTORY) == "where is the bus?"
    assert chat_server.requests[-1]["messages"][1]["content"].endswith("Last question: and that?")


async def test_refusals_are_sentences_without_the_key(bad_server: BadChatServer, prompt: Prompt, client: Any) -> None:
    bad_server.status, bad_server.message = 500, f"cannot use {KEY} here"
    asked = answerer(bad_server.url, client, name="mine")
    said = r"mine has a problem of its own \(HTTP 500: cannot use \[hidden\] here\)"
    with pytest.raises(AnswererError, match=said):
        list(asked.stream(Request("what?", prompt)))
    with pytest.raises(AnswererError, match=said):
        [piece async for piece in asked.astream(Request("what?", prompt))]


async def test_a_stream_whose_end_is_not_told_is_whole_unless_earlier_ends_were(
    chat_server: ChatServer, prompt: Prompt, client: Any
) -> None:
    asked, request = answerer(chat_server.url, client, name="mine"), Request("what?", prompt)
    chat_server.ends = False
    assert "".join(asked.stream(request)) == "a red bus"
    chat_server.ends = True
    assert "".join([piece async for piece in asked.astream(request)]) == "a red bus"
    chat_server.ends = False
    for _ in range(2):
        with pytest.raises(AnswererError, match=r"^the answer of mine broke off before it was whole"):
            list(asked.stream(request))
        with pytest.raises(AnswererError, match=r"^the answer of mine broke off before it was whole"):
            [piece async for piece in asked.astream(request)]


def test_any_llm_of_llama_index_answers(prompt: Prompt) -> None:
    asked = LlamaIndexAnswerer(MockLLM())
    assert asked.name == "MockLLM unknown"
    assert "Question: what?" in "".join(asked.stream(Request("what?", prompt)))
