"""LlamaIndex's multimodal chat engines, and ours on them, by the real client on a loopback server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("llama_index.llms.openai_like")
pytest.importorskip("PIL")

import httpx
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import MultiModalCondensePlusContextChatEngine, MultiModalContextChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.schema import NodeWithScore, QueryBundle

from chat_server import ChatServer
from commonscale.core.errors import ContextWindowWarning, InvalidInputError
from commonscale.llama_index import (
    CONTEXT_TEMPLATE,
    PromptPreparer,
    StandardizedMultiModalRetriever,
    citations_of,
    create_multimodal_chat_engine,
    prompt_of,
)
from commonscale.prompting import CHAT_INSTRUCTIONS, CONDENSE_INSTRUCTIONS, Budget, Pictures
from llama_answers import OTHER, QUESTION, chat_model, color_of, corpus, documents_of, ids_of, parts_of, retriever_of

WAYS = ["chat", "achat", "stream_chat", "astream_chat"]
IDS = ["t0", "i0", "i1", "t1"]


@pytest.fixture
def retriever(tmp_path: Path) -> StandardizedMultiModalRetriever:
    return retriever_of([node for node in corpus(tmp_path) if node.node_id != "i3"])


@pytest.fixture
def pictures(tmp_path: Path, retriever: StandardizedMultiModalRetriever) -> Pictures:
    del retriever  # it makes the folder
    return Pictures([tmp_path / "photos"], max_side=256)


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    """LlamaIndex's memory, whose database has to be closed by whoever opened it."""
    made = Memory.from_defaults(token_limit=100_000)
    yield made
    engine = made.sql_store._async_engine
    if engine is not None:
        await engine.dispose()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as made:
        yield made


async def tell(engine: Any, way: str, message: str) -> tuple[Any, str]:
    """The response and its words, read as a user of each way reads them."""
    if way == "chat":
        response = await asyncio.to_thread(engine.chat, message)
        return response, str(response)
    if way == "achat":
        response = await engine.achat(message)
        return response, str(response)
    if way == "stream_chat":

        def read() -> tuple[Any, str]:
            response = engine.stream_chat(message)
            return response, "".join(response.response_gen)

        return await asyncio.to_thread(read)
    response = await engine.astream_chat(message)
    return response, "".join([token async for token in response.async_response_gen()])


def said(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and text of each message but the last one."""
    return [(message["role"], message["content"]) for message in request["messages"][:-1]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("condense", [False, True])
async def test_ours_send_documents_in_ranked_order_with_each_message(
    way: str,
    condense: bool,
    retriever: StandardizedMultiModalRetriever,
    pictures: Pictures,
    memory: Memory,
    client: httpx.AsyncClient,
    chat_server: ChatServer,
) -> None:
    engine = create_multimodal_chat_engine(
        retriever,
        chat_model(chat_server.url, client),
        condense=condense,
        budget=Budget(items=4),
        pictures=pictures,
        memory=memory,
    )
    chat_server.answer = "red [2], or green [3][8]"
    response, answer = await tell(engine, way, QUESTION)
    assert answer == chat_server.answer
    assert len(chat_server.requests) == 1
    expected = [
        ("[1] passage 0", None),
        ("[2] title: photo 0", 0),
        ("[3] a captioned photo", 1),
        ("[4] passage 1", None),
    ]
    assert [(words, color_of(picture)) for words, picture in documents_of(chat_server.requests[0])] == expected
    assert said(chat_server.requests[0]) == [("system", CHAT_INSTRUCTIONS)]
    assert ids_of(response.source_nodes) == [sent.item.id for sent in prompt_of(response).sent] == IDS
    assert citations_of(response).ids == ["i0", "i1"]
    assert citations_of(response).unknown == (8,)

    chat_server.answer = OTHER  # the condensed question, and the answer too
    response, answer = await tell(engine, way, "and where is it?" if condense else OTHER)
    assert answer == OTHER
    assert len(chat_server.requests) == (3 if condense else 2)
    last = chat_server.requests[-1]
    assert said(last)[1:] == [("user", QUESTION), ("assistant", "red [2], or green [3][8]")]
    assert [(words, color_of(picture)) for words, picture in documents_of(last)] == expected
    assert str(parts_of(last)[-1]).endswith("and where is it?" if condense else OTHER)
    if condense:
        (asked,) = parts_of(chat_server.requests[1])
        assert str(asked).startswith(CONDENSE_INSTRUCTIONS)
        for turn in (QUESTION, "red [2], or green [3][8]", "Last question: and where is it?"):
            assert turn in str(asked)
    assert citations_of(response).ids == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [MultiModalContextChatEngine, MultiModalCondensePlusContextChatEngine])
async def test_llama_index_own_put_pictures_first_and_the_text_says_which_is_which(
    way: str,
    kind: Any,
    retriever: StandardizedMultiModalRetriever,
    pictures: Pictures,
    memory: Memory,
    client: httpx.AsyncClient,
    chat_server: ChatServer,
) -> None:
    condense = kind is MultiModalCondensePlusContextChatEngine
    llm = chat_model(chat_server.url, client)
    engine = kind.from_defaults(
        retriever,
        multi_modal_llm=llm,
        memory=memory,
        system_prompt=CHAT_INSTRUCTIONS,
        node_postprocessors=[PromptPreparer(Budget(items=4), pictures, engine="chat", llm=llm)],
        **{"context_prompt" if condense else "context_template": CONTEXT_TEMPLATE},
    )
    chat_server.answer = "green [3]"
    response, answer = await tell(engine, way, QUESTION)
    assert answer == chat_server.answer
    (request,) = chat_server.requests
    *images, text = parts_of(request)
    assert [color_of(image) for image in images if not isinstance(image, str)] == [0, 1]
    assert {image.size for image in images if not isinstance(image, str)} == {(256, 192)}
    assert text == (
        "<documents>\n[1] passage 0\n\n[2] (picture 1) title: photo 0\n\n[3] (picture 2) a captioned photo\n\n"
        f"[4] passage 1\n</documents>\n\nQuestion: {QUESTION}"
    )
    assert [sent.item.id for sent in prompt_of(response).sent] == IDS
    assert [sent.picture is not None for sent in prompt_of(response).sent] == [False, True, True, False]
    assert citations_of(response).ids == ["i1"]

    chat_server.answer = OTHER
    await tell(engine, way, OTHER)
    assert len(chat_server.requests) == (3 if condense else 2)
    assert said(chat_server.requests[-1])[1:] == [("user", QUESTION), ("assistant", "green [3]")]


async def test_a_conversation_can_go_on_from_earlier_messages(
    retriever: StandardizedMultiModalRetriever, pictures: Pictures, client: httpx.AsyncClient, chat_server: ChatServer
) -> None:
    history = [ChatMessage(role="user", content="hello"), ChatMessage(role="assistant", content="hello you")]
    engine = create_multimodal_chat_engine(
        retriever, chat_model(chat_server.url, client), condense=False, pictures=pictures, chat_history=history
    )
    await engine.achat(QUESTION)
    assert said(chat_server.requests[0])[1:] == [("user", "hello"), ("assistant", "hello you")]
    assert len(history) == 2


async def test_a_stream_that_has_not_ended_has_no_citations_yet(
    retriever: StandardizedMultiModalRetriever,
    pictures: Pictures,
    memory: Memory,
    client: httpx.AsyncClient,
    chat_server: ChatServer,
) -> None:
    llm = chat_model(chat_server.url, client)
    engine = create_multimodal_chat_engine(retriever, llm, pictures=pictures, memory=memory)
    chat_server.answer = "[1]"
    response = await engine.astream_chat(QUESTION)
    with pytest.raises(InvalidInputError, match="the stream has not ended"):
        citations_of(response)
    async for _ in response.async_response_gen():
        pass
    assert citations_of(response).ids == ["t0"]


async def test_too_small_a_window_is_warned_of(
    retriever: StandardizedMultiModalRetriever,
    pictures: Pictures,
    memory: Memory,
    client: httpx.AsyncClient,
    chat_server: ChatServer,
) -> None:
    llm = chat_model(chat_server.url, client, context_window=None)
    engine = create_multimodal_chat_engine(retriever, llm, pictures=pictures, memory=memory)
    with pytest.warns(ContextWindowWarning, match="sent in one call"):
        await engine.achat(QUESTION)
    assert len(documents_of(chat_server.requests[0])) == 7


async def test_a_long_conversation_counts_in_that_warning(
    retriever: StandardizedMultiModalRetriever, client: httpx.AsyncClient, chat_server: ChatServer
) -> None:
    llm = chat_model(chat_server.url, client, context_window=4_000)
    memory = ChatMemoryBuffer.from_defaults(
        chat_history=[ChatMessage(role=role, content="word " * 1_000) for role in ("user", "assistant")] * 2,
        token_limit=100_000,
    )
    engine = create_multimodal_chat_engine(retriever, llm, condense=False, budget=Budget(maximum={"image": 0}))
    await engine.achat(QUESTION)  # the documents alone fit
    assert engine.chat_history
    engine = create_multimodal_chat_engine(
        retriever, llm, condense=False, budget=Budget(maximum={"image": 0}), memory=memory
    )
    with pytest.warns(ContextWindowWarning, match=r"4 earlier messages 5\d{3}, .* less of the conversation"):
        await engine.achat(QUESTION)


@pytest.mark.parametrize("way", WAYS)
async def test_a_model_that_condenses_to_nothing_leaves_the_message(
    way: str, client: httpx.AsyncClient, chat_server: ChatServer
) -> None:
    searched: list[str] = []

    class Noting(BaseRetriever):
        """Notes what it is asked."""

        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            searched.append(query_bundle.query_str)
            return []

    memory = ChatMemoryBuffer.from_defaults(
        chat_history=[ChatMessage(role="user", content="hello"), ChatMessage(role="assistant", content="hello you")]
    )
    engine = create_multimodal_chat_engine(Noting(), chat_model(chat_server.url, client), memory=memory)
    chat_server.answer = " "
    await tell(engine, way, "and where is it?")
    assert searched == ["and where is it?"]
    assert str(parts_of(chat_server.requests[-1])[-1]).startswith("No documents were found")


class Nothing(BaseRetriever):
    """Finds nothing, and embeds no questions."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        del query_bundle
        return []


@pytest.mark.parametrize("condense", [True, False])
@pytest.mark.parametrize("embedded", [True, False])
async def test_a_message_that_no_request_can_hold_is_refused_and_the_conversation_goes_on(
    retriever: StandardizedMultiModalRetriever,
    pictures: Pictures,
    chat_server: ChatServer,
    condense: bool,
    embedded: bool,
) -> None:
    memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
    found = retriever if embedded else Nothing()
    llm = chat_model(chat_server.url)
    engine = create_multimodal_chat_engine(found, llm, condense=condense, memory=memory, pictures=pictures)
    chat_server.answer = QUESTION
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=r"'which \\ud800\?' is no valid Unicode"):
            engine.chat("which \ud800?")
        with pytest.raises(InvalidInputError, match=r"'which \\ud800\?' is no valid Unicode"):
            await engine.achat("which \ud800?")
        asked = len(chat_server.requests)
        assert str(engine.chat(QUESTION)) == QUESTION
        assert len(chat_server.requests) > asked


def test_a_history_beside_a_memory_is_refused(
    retriever: StandardizedMultiModalRetriever, chat_server: ChatServer
) -> None:
    history = [ChatMessage(role="user", content="hello")]
    memory = ChatMemoryBuffer.from_defaults()
    with pytest.raises(InvalidInputError, match="1 messages of chat_history are both given"):
        create_multimodal_chat_engine(retriever, chat_model(chat_server.url), memory=memory, chat_history=history)


def test_a_model_without_chat_is_refused(retriever: StandardizedMultiModalRetriever, chat_server: ChatServer) -> None:
    llm = chat_model(chat_server.url)
    llm.is_chat_model = False
    with pytest.raises(InvalidInputError, match="is_chat_model=True"):
        create_multimodal_chat_engine(retriever, llm)
