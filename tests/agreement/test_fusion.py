"""Our fusions of lists against the peers' own: LlamaIndex, LangChain and Qdrant, each with its real objects."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from benchmark_world import DIMENSION, unrelated
from commonscale.evaluation import METHODS
from commonscale.evaluation.methods import fusion

DEPTH = 20
WORLDS = {
    "both longer than the lists": {"texts": 40, "images": 30},
    "a modality shorter than its list": {"texts": 40, "images": 7},
    "a single picture": {"texts": 40, "images": 1},
}


@pytest.fixture(params=list(WORLDS))
def world(request):
    return unrelated(seed=11, questions=12, **WORLDS[request.param])


def ours(method: str, world: Any) -> list[list[tuple[str, float]]]:
    return [[(hit.id, hit.score) for hit in ranking] for ranking in METHODS[method].rank(world, DEPTH)]


def check(mine: list[tuple[str, float]], theirs: list[tuple[str, float]], factor: float = 1.0) -> None:
    """Same documents, same order, same scores up to a factor; documents of equal score may change places."""
    assert len(mine) == len(theirs) == DEPTH
    scores = np.array([score for _, score in mine])
    np.testing.assert_allclose(scores * factor, [score for _, score in theirs], rtol=1e-5, atol=1e-6)
    groups = itertools.groupby(range(len(mine)), key=lambda place: round(mine[place][1], 5))
    for _, places in [(k, list(v)) for k, v in groups][:-1]:
        assert {mine[place][0] for place in places} == {theirs[place][0] for place in places}


def llama_index(world: Any, mode: str) -> list[list[tuple[str, float]]]:
    """What LlamaIndex's fusion retriever makes of one vector index per modality."""
    pytest.importorskip("llama_index.core")
    from llama_index.core import MockEmbedding, VectorStoreIndex
    from llama_index.core.llms import MockLLM
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.schema import QueryBundle, TextNode

    retrievers = []
    for modality, vectors in world.documents.items():
        nodes = [
            TextNode(id_=f"{modality}:{row}", text=f"{modality}:{row}", embedding=vector)
            for row, vector in enumerate(vectors.tolist())
        ]
        index = VectorStoreIndex(nodes, embed_model=MockEmbedding(DIMENSION))
        retrievers.append(index.as_retriever(similarity_top_k=DEPTH))
    fused = QueryFusionRetriever(
        retrievers, llm=MockLLM(), mode=mode, similarity_top_k=DEPTH, num_queries=1, use_async=False
    )
    return [
        [(hit.node.node_id, hit.score) for hit in fused.retrieve(QueryBundle("asked", embedding=question.tolist()))]
        for question in world.questions
    ]


def qdrant(world: Any, kind: str, k: int | None = None) -> list[list[tuple[str, float]]]:
    """What Qdrant's client, in its local mode, makes of one prefetch per modality."""
    pytest.importorskip("qdrant_client")
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    client.create_collection("mixed", models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE))
    names = [f"{m}:{row}" for m, vectors in world.documents.items() for row in range(len(vectors))]
    stored = np.vstack(list(world.documents.values()))
    client.upload_points(
        "mixed",
        [
            models.PointStruct(id=number, vector=vector, payload={"modality": name.split(":")[0]})
            for number, (name, vector) in enumerate(zip(names, stored.tolist(), strict=True))
        ],
        wait=True,
    )
    if kind == "rrf" and k is not None:
        if not hasattr(models, "RrfQuery"):
            pytest.skip("this release of qdrant-client has no constant to set")
        query: Any = models.RrfQuery(rrf=models.Rrf(k=k))
    else:
        query = models.FusionQuery(fusion=models.Fusion(kind))
    answers = []
    for question in world.questions.tolist():
        of = [
            models.FieldCondition(key="modality", match=models.MatchValue(value=modality))
            for modality in world.documents
        ]
        prefetch = [models.Prefetch(query=question, filter=models.Filter(must=[one]), limit=DEPTH) for one in of]
        found = client.query_points("mixed", prefetch=prefetch, query=query, limit=DEPTH)
        answers.append([(names[point.id], point.score) for point in found.points])
    client.close()
    return answers


def langchain(world: Any) -> list[list[str]]:
    """What LangChain's ensemble makes of one store per modality: an order, it gives no scores."""
    pytest.importorskip("langchain_classic")
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    class Known(Embeddings):
        """Questions and documents are their own numbers."""

        def embed_query(self, text: str) -> list[float]:
            return world.questions[int(text)].tolist()

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [world.documents[m][int(row)].tolist() for m, row in (text.split(":") for text in texts)]

    retrievers = []
    for modality, vectors in world.documents.items():
        store = InMemoryVectorStore(Known())
        store.add_texts([f"{modality}:{row}" for row in range(len(vectors))])
        retrievers.append(store.as_retriever(search_kwargs={"k": DEPTH}))
    ensemble = EnsembleRetriever(retrievers=retrievers)
    return [[d.page_content for d in ensemble.invoke(str(n))][:DEPTH] for n in range(len(world.questions))]


def test_rrf_is_llama_indexs_but_for_where_ranks_begin(world):
    for mine, theirs in zip(ours("rrf", world), llama_index(world, "reciprocal_rerank"), strict=True):
        assert [name for name, _ in mine] == [name for name, _ in theirs]
        # 1 / (60 + rank) with ranks from 1 here, from 0 there.
        np.testing.assert_allclose([1 / (1 / score - 1) for _, score in mine], [score for _, score in theirs])


def test_rrf_is_langchains(world):
    for mine, theirs in zip(ours("rrf", world), langchain(world), strict=True):
        assert [name for name, _ in mine] == theirs


def test_rrf_is_qdrants_with_its_constant_set_to_61_and_orders_alike_without(world):
    with_61, default = qdrant(world, "rrf", 61), qdrant(world, "rrf")
    for mine, theirs, usual in zip(ours("rrf", world), with_61, default, strict=True):
        check(mine, theirs)
        assert [name for name, _ in mine] == [name for name, _ in theirs] == [name for name, _ in usual]
        assert usual[0][1] == pytest.approx(1 / 2)


def test_minmax_is_llama_indexs_relative_score_but_for_equal_weights(world):
    for mine, theirs in zip(ours("minmax", world), llama_index(world, "relative_score"), strict=True):
        check(mine, theirs, factor=1 / 2)


def test_dbsf_is_qdrants(world):
    for mine, theirs in zip(ours("dbsf", world), qdrant(world, "dbsf"), strict=True):
        check(mine, theirs)


def test_dbsf_is_llama_indexs_but_for_the_deviation_of_a_population(world):
    """Their spread is smaller by sqrt((n - 1) / n), which is the same for lists of equal length."""
    sizes = {modality: min(DEPTH, len(vectors)) for modality, vectors in world.documents.items()}
    found = zip(ours("dbsf", world), llama_index(world, "dist_based_score"), strict=True)
    for mine, theirs in found:
        known = dict(theirs)
        if len(set(sizes.values())) == 1:
            assert [name for name, _ in mine] == [name for name, _ in theirs]
        for name, score in mine:
            count = sizes[name.split(":")[0]]
            if count == 1:
                # A list of one has no spread: 1 if positive, else 0, there; 0.5 here and in Qdrant.
                assert (score, known.get(name, 0.0)) in {(0.5, 0.5), (0.5, 0.0)}
            elif name in known:
                expected = 0.5 + (score - 0.5) * np.sqrt(count / (count - 1))
                assert known[name] * 2 == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("value", "llama_gives"), [(0.3, 1.0), (-0.3, 0.0), (0.0, 0.0)])
def test_a_list_of_equal_scores(value, llama_gives):
    equal = np.full((2, 3), value)
    np.testing.assert_array_equal(fusion.relative_score("text", equal), llama_gives)
    np.testing.assert_array_equal(fusion.distribution_based("text", equal), 0.5)
    np.testing.assert_array_equal(fusion.distribution_based("text", equal[:, :1]), 0.5)


def test_exact_numbers_of_four_hits():
    cosines = np.array([[0.9, 0.7, 0.6, 0.2]])
    np.testing.assert_allclose(fusion.reciprocal_rank("text", cosines), [[1 / 61, 1 / 62, 1 / 63, 1 / 64]])
    np.testing.assert_allclose(fusion.relative_score("text", cosines), [[1, 5 / 7, 4 / 7, 0]])
    spread = 6 * np.sqrt((0.3**2 + 0.1**2 + 0 + 0.4**2) / 3)
    np.testing.assert_allclose(
        fusion.distribution_based("text", cosines), [[0.5 + d / spread for d in (0.3, 0.1, 0.0, -0.4)]]
    )
