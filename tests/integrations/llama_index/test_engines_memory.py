"""What the chat engines keep of a conversation: as LlamaIndex's memory keeps it, with nothing left open."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("llama_index.llms.openai_like")
pytest.importorskip("PIL")

import httpx
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore

from chat_server import ChatServer
from commonscale.llama_index import InMemoryChatStore, create_multimodal_chat_engine
from llama_answers import chat_model

WAYS = ["chat", "achat", "stream_chat", "astream_chat"]


class Nothing(BaseRetriever):
    """Finds nothing."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        del query_bundle
        return []


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as made:
        yield made


@pytest.fixture
async def theirs() -> AsyncIterator[SQLAlchemyChatStore]:
    made = SQLAlchemyChatStore("messages")
    yield made
    if made._async_engine is not None:
        await made._async_engine.dispose()


def message(text: str, role: str = "user") -> ChatMessage:
    return ChatMessage(role=role, content=text)


def texts(messages: list[ChatMessage]) -> list[tuple[str, str | None]]:
    return [(said.role.value, said.content) for said in messages]


async def tell(engine: Any, way: str, text: str) -> None:
    if way == "astream_chat":
        response = await engine.astream_chat(text)
        assert [token async for token in response.async_response_gen()]
    elif way == "achat":
        await engine.achat(text)
    elif way == "chat":
        await asyncio.to_thread(engine.chat, text)
    else:

        def read() -> None:
            response = engine.stream_chat(text)
            assert list(response.response_gen)

        await asyncio.to_thread(read)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("condense", [False, True])
async def test_a_conversation_leaves_nothing_open(
    way: str, condense: bool, client: httpx.AsyncClient, chat_server: ChatServer
) -> None:
    chat_server.answer = "an answer"
    threads = set(threading.enumerate())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        engine: Any = create_multimodal_chat_engine(
            Nothing(), chat_model(chat_server.url, client), condense=condense, chat_history=[message("hello")]
        )
        for text in ("one", "two"):
            await tell(engine, way, text)
        said = [("user", "hello"), *[(role, text) for i in ("one", "two") for role, text in _turn(i)]]
        assert texts(engine.chat_history) == said
        started = [thread.name for thread in set(threading.enumerate()) - threads]
        assert [name for name in started if not name.startswith("asyncio_")] == []
        await asyncio.to_thread(engine.reset)
        assert engine.chat_history == []
        await tell(engine, way, "anew")
        assert texts(engine.chat_history) == _turn("anew")
        del engine
        gc.collect()
    assert [str(warning.message) for warning in caught if "aiosqlite" in str(warning.message)] == []


def _turn(text: str) -> list[tuple[str, str]]:
    return [("user", text), ("assistant", "an answer")]


async def test_as_much_is_remembered_as_by_llama_index_own_engines(
    client: httpx.AsyncClient, chat_server: ChatServer, theirs: SQLAlchemyChatStore
) -> None:
    chat_server.answer = "word " * 300
    engine = create_multimodal_chat_engine(
        Nothing(), chat_model(chat_server.url, client, context_window=2_000), condense=False
    )
    expected = Memory.from_defaults(token_limit=2_000 - 256, chat_store=theirs)
    for i in range(6):
        await engine.achat(f"question {i}")
        sent = chat_server.requests[-1]["messages"][1:-1]
        assert [(said["role"], said["content"]) for said in sent] == texts(await expected.aget())
        await expected.aput(message(f"question {i}"))
        await expected.aput(message(chat_server.answer, "assistant"))
    assert 0 < len(sent) < 10  # some are forgotten
    assert len(engine.chat_history) == 12


async def _steps(store: AsyncDBChatStore) -> AsyncIterator[Any]:
    """Everything a chat store can be asked, in an order in which each step shows what the earlier ones did."""
    await store.add_message("a", message("0"))
    await store.add_messages("a", [message(str(i)) for i in range(1, 7)])
    await store.add_message("b", message("of b"))
    await store.add_message("a", message("archived at once"), status=MessageStatus.ARCHIVED)
    yield texts(await store.archive_oldest_messages("a", 2))
    yield texts(await store.delete_oldest_messages("a", 2))
    yield texts(await store.get_messages("a"))
    yield texts(await store.get_messages("a", status=None))
    yield texts(await store.get_messages("a", status=MessageStatus.ARCHIVED))
    yield texts(await store.get_messages("a", status=None, limit=2, offset=1))
    yield texts(await store.get_messages("a", limit=0))
    yield [await store.count_messages(key, status=status) for key in "abc" for status in (*MessageStatus, None)]
    yield await store.delete_message("b", 1)
    deleted = await store.delete_message("b", 8)
    yield deleted and deleted.content
    yield await store.get_keys()
    await store.delete_messages("a", status=MessageStatus.ARCHIVED)
    yield texts(await store.get_messages("a", status=None))
    await store.set_messages("a", [message("x"), message("y", "assistant")])
    yield texts(await store.get_messages("a", status=None))
    await store.delete_messages("a")
    yield await store.get_keys()
    yield texts(await store.archive_oldest_messages("a", 1) + await store.delete_oldest_messages("a", 1))


async def test_the_lists_do_what_the_database_does(theirs: SQLAlchemyChatStore) -> None:
    ours = [step async for step in _steps(InMemoryChatStore())]
    assert ours == [step async for step in _steps(theirs)]
    assert ours[2] == [("user", "4"), ("user", "5"), ("user", "6")]


async def test_messages_are_copies() -> None:
    store, said = InMemoryChatStore(), message("hello")
    history = [said]
    await store.set_messages("a", history)
    await store.add_message("a", message("more"))
    assert len(history) == 1
    said.blocks[0].text = "changed"
    (await store.get_messages("a"))[0].additional_kwargs["k"] = "changed"
    (kept, _) = await store.get_messages("a")
    assert (kept.content, kept.additional_kwargs) == ("hello", {})


def test_threads_with_loops_of_their_own_lose_nothing() -> None:
    store = InMemoryChatStore()

    def write(key: str) -> None:
        for i in range(50):
            asyncio.run(store.add_message(key, message(str(i))))
            asyncio.run(store.set_messages(f"{key}, again", [message(str(i))]))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, "abcd")) == [None] * 4
    for key in "abcd":
        assert [said.content for said in asyncio.run(store.get_messages(key))] == [str(i) for i in range(50)]
