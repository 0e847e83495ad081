"""The event loop goes on while stores, docstores and encoders work. No timing: each waits for the loop to act."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery, VectorStoreQueryResult

from commonscale import Candidates
from commonscale.llama_index import CommonscaleEmbedding, StandardizedMultiModalRetriever
from llama_world import QUESTIONS, World, pairs, simple_store

PATIENCE = 30.0


class Gate:
    """Blocks a worker until the event loop opens it; says whether that happened while it waited."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.passed: list[bool] = []

    def wait(self) -> None:
        self.reached.set()
        self.passed.append(self.opened.wait(PATIENCE))

    async def open_from_loop(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, PATIENCE)
        self.opened.set()


class SlowStore(SimpleVectorStore):
    """A store without real asynchronous methods."""

    gate: Any = None

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self.gate.wait()
        return super().query(query, **kwargs)


class SlowDocstore(SimpleDocumentStore):
    gate: Any = None

    def get_nodes(self, node_ids: list[str], raise_error: bool = True) -> list[BaseNode]:
        self.gate.wait()
        return super().get_nodes(node_ids, raise_error)


class SlowEncoder:
    """An encoder of the world's questions."""

    dimension = 16
    fingerprint = "slow"

    def __init__(self, world: World, gate: Gate) -> None:
        self.world, self.gate = world, gate

    def encode_questions(self, texts: list[str]) -> np.ndarray:
        self.gate.wait()
        return self.world.questions[[QUESTIONS.index(text) for text in texts]]

    encode_texts = encode_questions
    encode_images = encode_questions


@pytest.fixture
def world() -> World:
    return World()


async def assert_loop_goes_on(gate: Gate, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    answer, _ = await asyncio.gather(ask(), gate.open_from_loop())
    assert gate.passed
    assert all(gate.passed), "the event loop stood still while a worker waited for it"
    return answer


@pytest.mark.parametrize("method", ["aretrieve", "atext_retrieve", "aretrieve_batch"])
async def test_a_slow_store_does_not_block(world: World, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from commonscale.llama_index import stores

    monkeypatch.setattr(stores, "STORES", {})  # so that it is asked through its own query
    gate = Gate()
    store = SlowStore()
    store.gate = gate
    store.add(world.text_nodes)
    nodes = {node.node_id: node for node in world.text_nodes}
    retriever = StandardizedMultiModalRetriever(
        text_store=store, text_nodes=nodes, embed_model=world.model, score_kind="cosine", raw=True
    )
    question = [QUESTIONS[0]] if method == "aretrieve_batch" else QUESTIONS[0]
    found = await assert_loop_goes_on(gate, lambda: getattr(retriever, method)(question))
    hits = found[0] if method == "aretrieve_batch" else found
    assert [i for i, _ in pairs(hits)] == [i for i, _ in world.ranking(0, 85, raw=True) if i[0] == "t"][:10]


async def test_a_slow_docstore_does_not_block(world: World) -> None:
    docstore = SlowDocstore()
    docstore.add_documents(world.text_nodes)
    docstore.gate = gate = Gate()
    retriever = StandardizedMultiModalRetriever(
        text_store=simple_store(world.text_nodes), docstore=docstore, embed_model=world.model, raw=True
    )
    assert len(await assert_loop_goes_on(gate, lambda: retriever.aretrieve(QUESTIONS[0]))) == 10


async def test_a_slow_encoder_does_not_block(world: World) -> None:
    gate = Gate()
    nodes = {node.node_id: node for node in world.text_nodes}
    encoder = SlowEncoder(world, gate)
    retriever = StandardizedMultiModalRetriever(
        text_store=simple_store(world.text_nodes), text_nodes=nodes, embed_model=encoder, raw=True
    )
    assert len(await assert_loop_goes_on(gate, lambda: retriever.aretrieve(QUESTIONS[0]))) == 10


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("aget_query_embedding", QUESTIONS[0]),
        ("aget_query_embedding_batch", QUESTIONS[:2]),
        ("aget_text_embedding", QUESTIONS[0]),
        ("aget_text_embedding_batch", QUESTIONS[:2]),
        ("aget_image_embedding", QUESTIONS[0]),
        ("aget_image_embedding_batch", QUESTIONS[:2]),
    ],
)
async def test_a_slow_embedding_does_not_block(world: World, method: str, argument: Any) -> None:
    gate = Gate()
    model = CommonscaleEmbedding(SlowEncoder(world, gate))
    await assert_loop_goes_on(gate, lambda: getattr(model, method)(argument))


async def test_a_source_with_real_asynchronous_search_is_awaited(world: World) -> None:
    class AsyncSource:
        """Never to be searched synchronously."""

        def search(self, questions: Any, k: int) -> list[Candidates]:
            raise AssertionError("searched in a thread although it has asearch")

        async def asearch(self, questions: Any, k: int) -> list[Candidates]:
            await asyncio.sleep(0)
            return [Candidates(["t1"], np.array([0.5]), [world.text_nodes[1]]) for _ in questions]

    retriever = StandardizedMultiModalRetriever(text_store=AsyncSource(), embed_model=world.model, raw=True)
    assert pairs(await retriever.aretrieve(QUESTIONS[0])) == [("t1", 0.5)]
