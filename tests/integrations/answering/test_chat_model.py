"""Answers over LangChain's real client of OpenAI, against a server on loopback."""

from __future__ import annotations

import base64
import io
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain")
pytest.importorskip("langchain_openai")
pytest.importorskip("PIL")

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from PIL import Image

from answering_world import FakeEncoder, search
from bad_chat_server import BadChatServer
from chat_server import ChatServer
from commonscale.answering import AsyncAnswerer, ChatModelAnswerer, Condenser, Limits, QuestionAnswering, Request, Turn
from commonscale.core.errors import AnswererError, InvalidInputError, MissingExtraError
from commonscale.prompting import Pictures, Prompt, PromptBuilder, PromptItem

HISTORY = (Turn("where is it?", "on the bus [2]"),)


def answerer(url: str, **named: Any) -> ChatModelAnswerer:
    return ChatModelAnswerer.from_name("openai:gpt-4.1-mini", base_url=url, max_retries=0, **named)


@pytest.fixture
def prompt(tmp_path: Path) -> Prompt:
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "red.png")
    items = [
        PromptItem("words", "text", "a bus passes", score=2.0, cosine=0.3),
        PromptItem("picture", "image", picture=tmp_path / "red.png", score=1.5, cosine=0.2),
        PromptItem("more", "text", "the sea", score=1.0, cosine=0.1),
    ]
    return PromptBuilder(pictures=Pictures([tmp_path])).build(items)


def test_documents_are_sent_in_order_with_labels_beside_their_content(chat_server: ChatServer, prompt: Prompt) -> None:
    chat_server.answer = "a red bus [2]"
    asked = answerer(chat_server.url)
    assert isinstance(asked, (AsyncAnswerer, Condenser))
    pieces = list(asked.stream(Request("what color?", prompt)))
    assert pieces == ["a", " red", " bus", " [2]"]
    assert chat_server.requests[-1]["model"] == "gpt-4.1-mini"
    assert chat_server.requests[-1]["stream"] is True
    system, user = chat_server.requests[-1]["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert "Cite after each statement" in system["content"]
    texts = [part.get("text", "picture") for part in user["content"]]
    assert texts == [
        "<documents>",
        "[1] a bus passes",
        "[2]",
        "picture",
        "[3] the sea",
        "</documents>\n\nQuestion: what color?",
    ]


def test_pictures_are_sent_shrunk_as_data_uris(chat_server: ChatServer, prompt: Prompt) -> None:
    list(answerer(chat_server.url).stream(Request("what color?", prompt)))
    (uri,) = [part["image_url"]["url"] for part in chat_server.content if part["type"] == "image_url"]
    head, _, data = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (1024, 512)
        assert f"image/{picture.format.lower()}" in head


def test_without_pictures_the_message_is_one_text(chat_server: ChatServer) -> None:
    prompt = PromptBuilder().build([PromptItem("words", "text", "a bus passes")])
    list(answerer(chat_server.url).stream(Request("what?", prompt)))
    user = chat_server.requests[-1]["messages"][-1]
    assert user["content"] == "<documents>\n\n[1] a bus passes\n\n</documents>\n\nQuestion: what?"


def test_earlier_turns_are_sent_without_their_citations(chat_server: ChatServer, prompt: Prompt) -> None:
    list(answerer(chat_server.url, instructions="Be brief.").stream(Request("what color?", prompt, HISTORY)))
    system, question, answer, last = chat_server.requests[-1]["messages"]
    assert system["content"] == "Be brief."
    assert (question["role"], question["content"]) == ("user", "where is it?")
    assert (answer["role"], answer["content"]) == ("assistant", "on the bus")
    assert last["role"] == "user"


def test_a_follow_up_question_is_condensed_before_the_search(chat_server: ChatServer) -> None:
    chat_server.answer = "what is green"
    asked = QuestionAnswering(search(), FakeEncoder(), answerer(chat_server.url), k=1)
    found = asked.ask("and that?", HISTORY)
    assert found.ranking.ids == ["tree"]
    condensing, answering = chat_server.requests
    assert "Rewrite the last question" in condensing["messages"][0]["content"]
    assert "User: where is it?\nAssistant: on the bus\n" in condensing["messages"][1]["content"]
    assert condensing["messages"][1]["content"].endswith("Last question: and that?")
    assert answering["messages"][-1]["content"].endswith("Question: and that?")


async def test_asynchronous_answers_are_the_same(chat_server: ChatServer, prompt: Prompt) -> None:
    asked = answerer(chat_server.url)
    request = Request("what color?", prompt, HISTORY)
    assert [piece async for piece in asked.astream(request)] == list(asked.stream(request))
    assert chat_server.requests[0] == chat_server.requests[1]


@pytest.mark.parametrize(
    ("status", "code", "message", "said"),
    [
        (401, "invalid_api_key", "Incorrect API key provided: sk-proj-abcdefgh.", "refuses the API key"),
        (403, None, "Country not supported.", "refuses access (HTTP 403: Country not supported)"),
        (404, "model_not_found", "The model does not exist.", "is not known at"),
        (429, "rate_limit_exceeded", "Rate limit reached.", "is asked too often at the moment"),
        (429, "insufficient_quota", "You exceeded your current quota.", "has no quota left"),
        (400, "context_length_exceeded", "This model's maximum context length is 8.", "is too long for"),
        (400, None, "This model takes no images.", "does not take what was sent (HTTP 400: This model takes no images"),
        (500, None, "The server had an error.", "has a problem of its own (HTTP 500: The server had an error)"),
    ],
)
async def test_refusals_are_sentences(
    bad_server: BadChatServer, prompt: Prompt, status: int, code: str | None, message: str, said: str
) -> None:
    bad_server.status, bad_server.code, bad_server.message = status, code, message
    asked = answerer(bad_server.url)
    with pytest.raises(AnswererError) as caught:
        list(asked.stream(Request("what?", prompt)))
    with pytest.raises(AnswererError) as again:
        [piece async for piece in asked.astream(Request("what?", prompt))]
    with pytest.raises(AnswererError) as condensing:
        asked.condense("what?", HISTORY)
    assert str(caught.value) == str(again.value) == str(condensing.value)
    assert said in str(caught.value)
    assert "openai:gpt-4.1-mini" in str(caught.value)
    assert "sk-proj" not in str(caught.value)
    assert "{" not in str(caught.value)


async def test_a_server_that_is_not_there(prompt: Prompt) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://someone:word@127.0.0.1:{free.getsockname()[1]}/v1?key=1"
    asked = answerer(url)
    with pytest.raises(AnswererError, match=r"cannot be reached at 'http://127.0.0.1:\d+/v1' \(.*refused") as caught:
        list(asked.stream(Request("what?", prompt)))
    assert "word" not in str(caught.value)
    with pytest.raises(AnswererError, match="cannot be reached"):
        [piece async for piece in asked.astream(Request("what?", prompt))]


async def test_a_stream_that_breaks_off(bad_server: BadChatServer, prompt: Prompt) -> None:
    bad_server.words = "a red"
    got = []
    with pytest.raises(AnswererError, match=r"^the connection to openai:gpt-4\.1-mini broke off before"):
        got.extend(answerer(bad_server.url).stream(Request("what?", prompt)))
    with pytest.raises(AnswererError, match="broke off before the answer was whole"):
        [got.append(piece) async for piece in answerer(bad_server.url).astream(Request("what?", prompt))]
    assert got == ["a red", "a red"]


async def test_a_stream_whose_end_is_not_told_is_whole_unless_earlier_ends_were(
    chat_server: ChatServer, prompt: Prompt
) -> None:
    asked, request = answerer(chat_server.url), Request("what?", prompt)
    chat_server.ends = False
    for _ in range(2):
        assert "".join(asked.stream(request)) == "a red bus"
        assert "".join([piece async for piece in asked.astream(request)]) == "a red bus"
    chat_server.ends = True
    assert "".join(asked.stream(request)) == "a red bus"
    chat_server.ends, got = False, []
    with pytest.raises(AnswererError, match=r"^the answer of openai:gpt-4\.1-mini broke off before it was whole"):
        got.extend(asked.stream(request))
    with pytest.raises(AnswererError, match=r"broke off before it was whole .*; ask again$"):
        [got.append(piece) async for piece in asked.astream(request)]
    assert got == ["a", " red", " bus"] * 2


def test_who_stops_listening_takes_nothing_for_broken(chat_server: ChatServer, prompt: Prompt) -> None:
    asked, request = answerer(chat_server.url), Request("what?", prompt)
    for _ in range(2):
        pieces = asked.stream(request)
        assert next(pieces) == "a"
        pieces.close()
        assert "".join(asked.stream(request)) == "a red bus"


@pytest.mark.parametrize("words", ["", "a red"])
async def test_a_server_that_hangs(bad_server: BadChatServer, prompt: Prompt, words: str) -> None:
    bad_server.hangs, bad_server.words = True, words
    asked = answerer(bad_server.url, limits=Limits(first=0.5, total=0.6), timeout=60)
    with pytest.raises(AnswererError, match=r"did not begin to answer within 0.5|not done answering after 0.6"):
        list(asked.stream(Request("what?", prompt)))
    with pytest.raises(AnswererError, match=r"did not begin to answer within 0.5|not done answering after 0.6"):
        [piece async for piece in asked.astream(Request("what?", prompt))]


def test_the_clients_own_limit_is_told_the_same_way(bad_server: BadChatServer, prompt: Prompt) -> None:
    bad_server.hangs = True
    with pytest.raises(AnswererError, match="did not answer in time"):
        list(answerer(bad_server.url, timeout=0.2).stream(Request("what?", prompt)))


def test_an_empty_answer_is_an_error(chat_server: ChatServer, prompt: Prompt) -> None:
    chat_server.answer = ""
    with pytest.raises(AnswererError, match="gave an empty answer"):
        list(answerer(chat_server.url).stream(Request("what?", prompt)))


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("gpt-4.1-mini", InvalidInputError, r"PROVIDER:MODEL, such as openai:.*got 'gpt-4.1-mini'"),
        ("openai:", InvalidInputError, "got 'openai:'"),
        (":gpt", InvalidInputError, "got ':gpt'"),
        ("nobody:gpt", AnswererError, "LangChain knows no provider 'nobody'; it knows anthropic, .*openai"),
        ("openai:gpt", AnswererError, "cannot be asked without an API key; set the environment variable OPENAI_API"),
        ("google_genai:gemini", AnswererError, "without an API key; set the environment variable GOOGLE_API_KEY"),
    ],
)
def test_names_that_cannot_be_used(name: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ChatModelAnswerer.from_name(name)


@pytest.mark.parametrize("provider", ["mistralai", "ollama"])
def test_a_providers_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    monkeypatch.setitem(sys.modules, f"langchain_{provider}", None)
    with pytest.raises(AnswererError) as caught:
        ChatModelAnswerer.from_name(f"{provider}:some-model")
    assert str(caught.value).splitlines()[-1] == f"pip install langchain-{provider}"


def test_without_langchain_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commonscale\[chat\]'"):
        ChatModelAnswerer.from_name("openai:gpt")


def test_a_base_url_must_be_one() -> None:
    with pytest.raises(InvalidInputError, match="must begin with http"):
        ChatModelAnswerer.from_name("openai:gpt", base_url="localhost:8000")


def test_the_key_of_the_environment_is_used_and_never_shown(
    chat_server: ChatServer, bad_server: BadChatServer, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "my-own-key-of-odd-shape")
    asked = answerer(chat_server.url)
    assert asked.model.openai_api_key.get_secret_value() == "my-own-key-of-odd-shape"  # type: ignore[attr-defined]
    monkeypatch.delenv("OPENAI_API_KEY")
    bad_server.status, bad_server.message = 500, "cannot use my-own-key-of-odd-shape here"
    asked = answerer(bad_server.url, api_key="my-own-key-of-odd-shape")
    with pytest.raises(AnswererError, match=r"cannot use \[hidden\] here"):
        list(asked.stream(Request("what?", prompt)))


def test_any_chat_model_of_langchain_answers(prompt: Prompt) -> None:
    asked = ChatModelAnswerer(GenericFakeChatModel(messages=iter([AIMessage("a red bus [1]")])))
    assert asked.name == "GenericFakeChatModel"
    assert "".join(asked.stream(Request("what?", prompt))) == "a red bus [1]"


def test_only_the_words_of_an_answer_count(prompt: Prompt) -> None:
    thinking: Sequence[Any] = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "a red bus"}]

    class Thinking(GenericFakeChatModel):
        def _stream(self, *args: Any, **named: Any) -> Any:
            from langchain_core.messages import AIMessageChunk
            from langchain_core.outputs import ChatGenerationChunk

            for block in thinking:
                yield ChatGenerationChunk(message=AIMessageChunk(content=[block]))

    asked = ChatModelAnswerer(Thinking(messages=iter([])), name="thinker")
    assert list(asked.stream(Request("what?", prompt))) == ["a red bus"]
