"""Every store, layout and kind of vector gives the ranking of brute force."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("faiss")
pytest.importorskip("langchain_community")

from commonscale.langchain import StandardizedMultiModalRetriever
from langchain_world import QUESTIONS, STORES, World

ASKED = ["what is red", "a bus in the rain", "question 3"]


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["two", "mixed"])
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["unit", "any-norm"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.fixture
def retriever(world: World, kind: str, layout: str, tmp_path: Path) -> StandardizedMultiModalRetriever:
    retriever = StandardizedMultiModalRetriever(**world.stores(kind, layout, tmp_path), embeddings=world.embeddings)
    retriever.calibrate(QUESTIONS, method="standardized")
    return retriever


def found(documents):
    return [(d.id, d.metadata["commonscale_cosine"], d.metadata["commonscale_score"]) for d in documents]


def check(documents, expected):
    assert [i for i, _, _ in found(documents)] == [i for i, _, _ in expected]
    assert [c for _, c, _ in found(documents)] == pytest.approx([c for _, c, _ in expected], abs=1e-5)
    assert [s for _, _, s in found(documents)] == pytest.approx([s for _, _, s in expected], abs=1e-4)


@pytest.mark.parametrize("k", [1, 7, 85, 200])
def test_standardized_ranking_is_that_of_brute_force(retriever, world, k):
    for question in ASKED:
        check(retriever.invoke(question, k=k), world.expected(question, k))


def test_raw_ranking_is_that_of_brute_force(retriever, world):
    for question in ASKED:
        check(retriever.invoke(question, k=10, raw=True), world.expected(question, 10, raw=True))


async def test_async_batch_and_single_agree(retriever, world):
    answers = [
        retriever.retrieve_batch(ASKED, k=12),
        await retriever.aretrieve_batch(ASKED, k=12),
        [await retriever.ainvoke(question, k=12) for question in ASKED],
        retriever.batch(ASKED, k=12),
        await retriever.abatch(ASKED, k=12),
    ]
    for answer in answers:
        for question, documents in zip(ASKED, answer, strict=True):
            check(documents, world.expected(question, 12))


def test_statistics_are_those_of_the_best_hits(retriever, world):
    for modality in ("text", "image"):
        best = [max(world.cosines(question, modality).values()) for question in QUESTIONS]
        statistics = retriever.calibration.statistics(modality)
        assert statistics.mean == pytest.approx(sum(best) / len(best), abs=1e-5)
        assert statistics.count == len(QUESTIONS)


def test_quotas_hold(retriever):
    few = retriever.invoke("what is red", k=10, maximum={"image": 3})
    assert [d.metadata["commonscale_modality"] for d in few].count("image") == 3
    some = retriever.invoke("what is red", k=10, raw=True, minimum={"image": 4})
    assert [d.metadata["commonscale_modality"] for d in some].count("image") == 4


def test_documents_keep_content_metadata_and_id(retriever, world):
    originals = {d.id: d for modality in world.ids for d in world.documents(modality)}
    for document in retriever.invoke("what is red", k=40):
        original = originals[document.id]
        assert document.page_content == original.page_content
        assert original.metadata.items() <= document.metadata.items()
        assert document.metadata["commonscale_modality"] == original.metadata["modality"]
