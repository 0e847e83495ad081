"""Stores that are not known, searched by their own ``aquery``; the stores here are fakes, to see how they are asked."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryResult

from commonscale.core.concurrency import ASKED_AT_ONCE
from commonscale.core.errors import SourceUnavailableError
from commonscale.core.types import Question
from commonscale.llama_index.query_store import QuerySource
from commonscale.llama_index.sources import StoreRequest
from llama_world import World

QUESTIONS = 3 * ASKED_AT_ONCE


class FakeStore:
    """A store of an unknown class around a SimpleVectorStore."""

    stores_text = True

    def __init__(self, world: World) -> None:
        self._nodes = {node.node_id: node for node in world.text_nodes}
        self._inner = SimpleVectorStore()
        self._inner.add(list(world.text_nodes))
        self.threads: list[threading.Thread] = []

    def query(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        self.threads.append(threading.current_thread())
        found = self._inner.query(query)
        return VectorStoreQueryResult([self._nodes[i] for i in found.ids or ()], found.similarities, found.ids)


class FakeAsyncStore(FakeStore):
    """One with an ``aquery`` of its own; counts how many are under way at once."""

    running = 0
    most = 0
    asked = 0
    error: Exception | None = None

    async def aquery(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return super().query(query)


def source(store: FakeStore) -> QuerySource:
    return QuerySource(store, StoreRequest("text", score_kind="cosine"))


def questions(world: World) -> list[Question]:
    return [Question(str(i), vector) for i, vector in enumerate(world.questions[:QUESTIONS])]


async def asked(searched: QuerySource, world: World) -> list[list[str]]:
    found = await searched.asearch(questions(world), 4)
    return [list(candidates.ids) for candidates in found]


def expected(world: World) -> list[list[str]]:
    return [list(candidates.ids) for candidates in source(FakeStore(world)).search(questions(world), 4)]


async def test_questions_are_put_by_aquery_a_few_at_once() -> None:
    world = World()
    store = FakeAsyncStore(world)
    assert await asked(source(store), world) == expected(world)
    assert store.asked == QUESTIONS
    assert 1 < store.most <= ASKED_AT_ONCE


@pytest.mark.parametrize("error", [NotImplementedError(), ValueError("the asynchronous client was not given")])
async def test_an_aquery_that_only_raises_is_left_alone(error: Exception) -> None:
    world = World()
    store = FakeAsyncStore(world)
    store.error = error
    searched = source(store)
    assert await asked(searched, world) == expected(world)
    tried = store.asked
    assert await asked(searched, world) == expected(world)
    assert store.asked == tried
    assert threading.current_thread() not in store.threads


async def test_an_aquery_whose_server_is_down_says_so() -> None:
    world = World()
    store = FakeAsyncStore(world)
    store.error = ConnectionRefusedError(111, "refused")
    with pytest.raises(ConnectionRefusedError):
        await asked(source(store), world)
    assert store.threads == []


async def test_an_aquery_that_worked_is_not_replaced_by_a_search_in_a_thread() -> None:
    world = World()
    store = FakeAsyncStore(world)
    searched = source(store)
    await asked(searched, world)
    store.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        await asked(searched, world)


def test_without_an_aquery_of_its_own_a_store_is_not_awaited() -> None:
    class Inherits(SimpleVectorStore):
        """Has LlamaIndex's aquery, which calls query."""

    world = World()
    assert not hasattr(source(FakeStore(world)), "asearch")
    inherits = QuerySource(
        Inherits(),
        StoreRequest("text", catalog=_NoNodes(), score_kind="cosine"),  # type: ignore[arg-type]
    )
    assert not hasattr(inherits, "asearch")


class _NoNodes:
    """A catalog that is never asked."""


async def test_a_store_that_is_down_is_named() -> None:
    from commonscale import JointSearch

    world = World()
    store = FakeAsyncStore(world)
    store.error = ConnectionRefusedError(111, "refused")
    with pytest.raises(SourceUnavailableError, match="the FakeAsyncStore of modality 'text' cannot be searched"):
        await JointSearch({"text": source(store)}, check=False).asearch(questions(world)[0], 3, raw=True)
