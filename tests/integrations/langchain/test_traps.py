"""Known traps of LangChain's stores and retrievers, each shown beside ours where it can be."""

from __future__ import annotations

import asyncio
import copy
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_classic")
pytest.importorskip("langchain_community")
pytest.importorskip("faiss")

from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document

from commonscale import Candidates
from commonscale.langchain import StandardizedMultiModalRetriever
from langchain_world import QUESTIONS, WordEmbeddings, World
from sources import ArraySource

QUESTION = "what is red"


def test_images_without_text_stay_apart(world, retriever, tmp_path):
    stores = world.stores("in-memory", "two", tmp_path)
    both = [store.as_retriever(search_kwargs={"k": 5}) for store in stores.values()]
    collapsed = EnsembleRetriever(retrievers=both, weights=[0.5, 0.5]).invoke(QUESTION)
    assert sum(document.page_content == "" for document in collapsed) == 1
    ours = retriever.invoke(QUESTION, k=10, minimum={"image": 5, "text": 5})
    assert sum(document.page_content == "" for document in ours) == 5
    assert len({document.id for document in ours}) == 10


@pytest.mark.parametrize("kind", ["faiss-l2", "faiss-ip"])
def test_filter_does_not_starve_a_modality(kind, tmp_path):
    world = World(texts=200, images=3)
    store = world.store(kind, ["text", "image"], tmp_path)
    starved = store.similarity_search(QUESTION, k=3, filter={"modality": "image"})
    assert len(starved) == 0
    ours = StandardizedMultiModalRetriever(store=store).invoke(QUESTION, k=203, raw=True)
    assert len(ours) == 203
    images = [d for d in ours if d.metadata["commonscale_modality"] == "image"]
    cosines = world.cosines(QUESTION, "image")
    assert [d.id for d in images] == sorted(cosines, key=lambda i: -cosines[i])


def test_relevance_scores_of_inner_products_are_inverted_and_ours_are_not(world, tmp_path):
    stores = world.stores("faiss-ip", "two", tmp_path)
    vector = np.array(world.embeddings.embed_query(QUESTION))
    vector /= np.linalg.norm(vector)
    relevance = stores["text_store"]._select_relevance_score_fn()
    pairs = stores["text_store"].similarity_search_with_score_by_vector(vector.tolist(), k=5)
    inverted = [relevance(score) for _, score in pairs]
    assert inverted == sorted(inverted)
    found = StandardizedMultiModalRetriever(text_store=stores["text_store"]).invoke(QUESTION, k=5, raw=True)
    cosines = world.cosines(QUESTION, "text")
    assert [d.metadata["commonscale_cosine"] for d in found] == pytest.approx(
        sorted(cosines.values(), reverse=True)[:5], abs=1e-5
    )


@pytest.mark.parametrize("kind", ["in-memory", "faiss-l2", "faiss-ip", "index"])
def test_nothing_of_the_store_is_changed(world, kind, tmp_path):
    retriever = StandardizedMultiModalRetriever(
        **world.stores(kind, "mixed", tmp_path), embeddings=world.embeddings, raw=True
    )
    first = retriever.invoke(QUESTION, k=85)
    kept = copy.deepcopy(first)
    for document in first:
        document.metadata["commonscale_score"] = "spoiled"
        document.metadata["new"] = 1
        document.page_content = "spoiled"
    assert retriever.invoke(QUESTION, k=85) == kept


def test_stored_documents_get_no_scores(world, retriever):
    retriever.invoke(QUESTION, k=85)
    for store in (retriever.text_store, retriever.image_store):
        for record in store.store.values():
            assert set(record["metadata"]) == {"modality", "number"}


async def test_keywords_reach_both_sync_and_async(retriever):
    options = {"k": 4, "maximum": {"image": 1}, "minimum": {"text": 1}, "raw": True, "filter": lambda d: d.id != "t1"}
    found = retriever.invoke(QUESTION, **options)
    assert len(found) == 4
    assert await retriever.ainvoke(QUESTION, **options) == found
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUESTION, top_k=1)
    with pytest.raises(TypeError, match="top_k"):
        await retriever.ainvoke(QUESTION, top_k=1)


async def test_question_is_embedded_once_per_embedding_object(world, tmp_path):
    stores = world.stores("in-memory", "two", tmp_path)
    shared, other = WordEmbeddings(), WordEmbeddings()
    one = StandardizedMultiModalRetriever(**stores, embeddings=shared, raw=True)
    one.invoke("first")
    await one.ainvoke("second")
    assert shared.asked == ["first", "second"]
    shared.asked.clear()
    two = StandardizedMultiModalRetriever(**stores, embeddings=shared, image_embeddings=other, raw=True)
    two.invoke("third")
    await two.ainvoke("fourth")
    assert (shared.asked, other.asked) == (["third", "fourth"], ["third", "fourth"])


def test_each_modality_is_searched_with_its_own_embeddings(world, tmp_path):
    class Turned(WordEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return [-value for value in super().embed_query(text)]

    stores = world.stores("in-memory", "two", tmp_path)
    found = StandardizedMultiModalRetriever(**stores, image_embeddings=Turned(), raw=True, k=85).invoke(QUESTION)
    for document in found:
        modality = document.metadata["modality"]
        expected = world.cosines(QUESTION, modality)[document.id] * (-1 if modality == "image" else 1)
        assert document.metadata["commonscale_cosine"] == pytest.approx(expected, abs=1e-5)


async def test_slow_store_does_not_block_the_event_loop(world):
    """The search waits for something that only another coroutine can do: it would never end on the loop."""
    arrived, may_go_on = threading.Event(), threading.Event()

    class Slow(ArraySource):
        def search(self, questions, k):
            arrived.set()
            assert may_go_on.wait(30)
            return super().search(questions, k)

    async def release() -> None:
        await asyncio.to_thread(arrived.wait, 30)
        may_go_on.set()

    source = Slow(world.ids["text"], world.vectors["text"])
    retriever = StandardizedMultiModalRetriever(text_store=source, embeddings=world.embeddings, raw=True, k=3)
    found, _ = await asyncio.gather(retriever.ainvoke(QUESTION), release())
    assert len(found) == 3


async def test_slow_embeddings_do_not_block_the_event_loop(world, tmp_path):
    arrived, may_go_on = threading.Event(), threading.Event()

    class Slow(WordEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            arrived.set()
            assert may_go_on.wait(30)
            return super().embed_query(text)

    async def release() -> None:
        await asyncio.to_thread(arrived.wait, 30)
        may_go_on.set()

    stores = world.stores("in-memory", "two", tmp_path)
    retriever = StandardizedMultiModalRetriever(**stores, embeddings=Slow(), raw=True, k=3)
    found, _ = await asyncio.gather(retriever.ainvoke(QUESTION), release())
    assert len(found) == 3


def test_captioned_picture_in_both_stores_comes_once_at_its_best(world):
    document = Document(id="both", page_content="caption", metadata={})
    vector = np.array(world.embeddings.embed_query(QUESTION), dtype=np.float32)
    vector /= np.linalg.norm(vector)

    class One:
        def __init__(self, cosine: float) -> None:
            self.cosine = cosine

        def search(self, questions, k):
            return [Candidates(["both"], np.array([self.cosine]), [document]) for _ in questions]

    retriever = StandardizedMultiModalRetriever(
        text_store=One(0.2), image_store=One(0.9), embeddings=world.embeddings, raw=True
    )
    (found,) = retriever.invoke(QUESTION)
    assert (found.id, found.metadata["commonscale_modality"]) == ("both", "image")


def test_distance_strategy_cosine_is_read_as_what_it_is(world, tmp_path):
    store = world.store("faiss-cosine", ["text"], Path(tmp_path))
    own = [float(score) for _, score in store.similarity_search_with_score(QUESTION, k=5)]
    assert own == sorted(own)
    found = StandardizedMultiModalRetriever(text_store=store).invoke(QUESTION, k=5, raw=True)
    assert [d.id for d in found] == [i for i, _, _ in World().expected(QUESTION, 85, raw=True) if i[0] == "t"][:5]


def test_raw_ranking_drowns_images_and_the_common_scale_does_not(world, retriever):
    raw = retriever.retrieve_batch(QUESTIONS, k=5, raw=True)
    standardized = retriever.retrieve_batch(QUESTIONS, k=5)

    def images(answers):
        return sum(d.metadata["modality"] == "image" for answer in answers for d in answer)

    assert images(raw) < 0.05 * 5 * len(QUESTIONS)
    assert 0.2 * 5 * len(QUESTIONS) < images(standardized) < 0.8 * 5 * len(QUESTIONS)
