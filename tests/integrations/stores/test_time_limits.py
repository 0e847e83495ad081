"""Time limits of asynchronous searches: a store that hangs keeps neither the event loop nor its threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from commonscale import Candidates, FailurePolicy, JointSearch, Question
from commonscale.core.errors import SourceUnavailableError
from commonscale.core.types import Probe
from commonscale.stores.table import Found, TableSource
from sources import ArraySource, unit_rows

D = 8
ROWS = unit_rows(np.random.default_rng(0), 20, D)
ASK = Question("which?", ROWS[0])
PATIENCE = 5
SHORT = 0.05


class FakeHang:
    """Does not return before it is let go, whatever it is called with."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.go.wait(2 * PATIENCE):
            raise AssertionError("nobody let the call go")
        raise ConnectionError("the store was only pretended")


@pytest.fixture
def hang() -> Iterator[FakeHang]:
    made = FakeHang()
    yield made
    made.go.set()


class FakeServed(ArraySource):
    """A source with an asynchronous search, whose synchronous probe hangs."""

    def __init__(self, hang: FakeHang) -> None:
        super().__init__([f"t{i}" for i in range(20)], ROWS)
        self.hang = hang

    async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        return self.search(questions, k)

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        return self.hang()  # type: ignore[no-any-return]


class FakeTable:
    """An asynchronous table whose settings come from a server that hangs."""

    trusted = True
    score_kind = "cosine"

    def __init__(self, hang: FakeHang) -> None:
        self.hang = hang

    @property
    def dimension(self) -> int:
        return self.hang()  # type: ignore[no-any-return]

    def search(self, rows: Any, k: int, with_vectors: bool) -> list[Found]:
        return self.hang()  # type: ignore[no-any-return]

    async def asearch(self, rows: Any, k: int, with_vectors: bool) -> list[Found]:
        return []


class FakeSource(ArraySource):
    """A source without an asynchronous search, which hangs."""

    def __init__(self, hang: FakeHang) -> None:
        super().__init__([], np.empty((0, D)))
        self.search = hang  # type: ignore[method-assign]


def table(of: Any) -> TableSource:
    return TableSource(of, "text", lambda i, payload: (i, payload))


def distinct(hang: FakeHang) -> Any:
    pytest.importorskip("langchain_core")
    from commonscale.langchain.distinct import DistinctSource

    return DistinctSource(FakeSource(hang), "text")


def wrapped(hang: FakeHang) -> Any:
    pytest.importorskip("langchain_core")
    from commonscale.langchain.view import View
    from commonscale.langchain.wrapped_source import WrappedSource

    return WrappedSource(FakeSource(hang), View("text"))


def scored(hang: FakeHang) -> Any:
    pytest.importorskip("langchain_core")
    from commonscale.langchain.stores import source_of
    from commonscale.langchain.view import View

    store = type("FakeStore", (), {"similarity_search_with_score_by_vector": hang})()
    return source_of(store, View("text", score_kind="cosine"))


def retrieved(hang: FakeHang) -> Any:
    pytest.importorskip("langchain_core")
    from langchain_core.retrievers import BaseRetriever

    from commonscale.core.treatments import Meaning
    from commonscale.langchain.retriever_asker import RetrieverAsker
    from commonscale.stores.retrieved import RetrievedSource

    class FakeRetriever(BaseRetriever):
        k: int = 1

        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> Any:
            return hang()

    asker = RetrieverAsker(FakeRetriever(), "score", None, lambda document: str(document.id))
    return RetrievedSource(FakeRetriever(), asker, Meaning("cosine"))


def query(hang: FakeHang) -> Any:
    pytest.importorskip("llama_index.core")
    from llama_index.core.vector_stores import SimpleVectorStore

    from commonscale.llama_index.query_store import QuerySource
    from commonscale.llama_index.sources import StoreRequest

    class FakeStore(SimpleVectorStore):
        stores_text: bool = True

        def query(self, query: Any, **_: Any) -> Any:
            return hang()

        async def aquery(self, query: Any, **_: Any) -> Any:
            raise NotImplementedError

    return QuerySource(FakeStore(), StoreRequest("text", score_kind="cosine"))


def milvus(hang: FakeHang) -> Any:
    from commonscale.stores.milvus import MilvusTable

    return table(MilvusTable(type("FakeClient", (), {"has_collection": hang})(), "some", "vector", aclient=object()))


def weaviate(hang: FakeHang) -> Any:
    from commonscale.stores.weaviate import Reading, WeaviateTable

    collections = type("FakeCollections", (), {"exists": hang})()
    client = type("FakeClient", (), {"collections": collections})()
    aclient = type("FakeAsyncClient", (), {"_connection": object()})()
    return table(WeaviateTable(client, Reading("Some", lambda types: None), aclient))


class Engined(FakeTable):
    """Asks through SQLAlchemy's own engine, whose connections cannot be made."""

    dimension = D  # type: ignore[assignment]

    async def asearch(self, rows: Any, k: int, with_vectors: bool) -> list[Found]:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        from commonscale.stores.postgres_engines import Engines

        engine = create_engine("sqlite://", creator=self.hang, poolclass=NullPool)
        return await Engines(engine).aask(lambda connection, block: [], rows)


def postgres(hang: FakeHang) -> Any:
    pytest.importorskip("sqlalchemy")
    return table(Engined(hang))


SOURCES: dict[str, Callable[[FakeHang], Any]] = {
    "first use": FakeServed,
    "table": lambda hang: table(FakeTable(hang)),
    "distinct": distinct,
    "wrapped": wrapped,
    "scored": scored,
    "retriever": retrieved,
    "query": query,
    "milvus": milvus,
    "weaviate": weaviate,
    "postgres": postgres,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_an_event_loop_ends_while_a_store_hangs(kind: str, hang: FakeHang) -> None:
    source = SOURCES[kind](hang)
    policy = FailurePolicy(timeout=SHORT, attempts=1)
    search = JointSearch({"text": source}, failures=policy, check=kind == "first use")
    raised: list[BaseException] = []

    async def main() -> None:
        try:
            await search.asearch(ASK, 3, raw=True)
        except SourceUnavailableError as error:
            raised.append(error)

    # Not in this thread: a loop that waits for the store would keep it from ever being let go.
    loop = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    loop.start()
    loop.join(PATIENCE)
    assert not loop.is_alive()
    assert [f"no answer within {SHORT} s" in str(error) for error in raised] == [True]


async def test_searches_that_are_late_leave_the_threads_of_the_loop_to_others(hang: FakeHang) -> None:
    sources = {"text": table(FakeTable(hang))}
    search = JointSearch(sources, failures=FailurePolicy(timeout=SHORT, attempts=1), check=False)
    # More than a loop's own pool has threads: 32 at most.
    late = await asyncio.gather(*(search.asearch(ASK, 3, raw=True) for _ in range(40)), return_exceptions=True)
    assert {type(error) for error in late} == {SourceUnavailableError}
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "innocent"), PATIENCE) == "innocent"
