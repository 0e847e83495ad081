"""What is particular to Qdrant."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client")

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from commonscale.core.errors import CommonscaleWarning, InvalidInputError, UnknownScoreKindError
from store_suite import forms
from store_suite.corpus import QUESTIONS, Corpus

CORPUS = Corpus()


def llama_index(store: Any, **settings: Any) -> Any:
    pytest.importorskip("llama_index.core")
    from commonscale.llama_index import StandardizedMultiModalRetriever
    from llama_world import FixedEmbedding

    model = FixedEmbedding(vectors=CORPUS.vectors)
    return StandardizedMultiModalRetriever(store=store, embed_model=model, raw=True, **settings)


def li_store(client: Any, **settings: Any) -> Any:
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    return module.QdrantVectorStore("docs", client=client, **settings)


def ids(found: Any) -> list[str]:
    return [hit.node.node_id for hit in found]


def expected(k: int = 10) -> list[str]:
    return [i for i, _ in CORPUS.ranking(0, k, raw=True)]


def test_a_retriever_may_be_made_before_the_collection() -> None:
    client = QdrantClient(":memory:")
    store = li_store(client)
    retriever = llama_index(store)
    with pytest.warns(CommonscaleWarning, match="found none"):
        assert retriever.retrieve(QUESTIONS[0]) == []
    forms.add_nodes(store, CORPUS.items)
    assert ids(retriever.retrieve(QUESTIONS[0])) == expected()
    client.close()


def test_a_distance_without_cosines_is_refused() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("docs", {"text-dense": models.VectorParams(size=16, distance=models.Distance.MANHATTAN)})
    with pytest.raises(UnknownScoreKindError, match=r"manhattan distance.*create it with one of: cosine, dot, euclid"):
        llama_index(li_store(client)).retrieve(QUESTIONS[0])
    client.close()


def test_a_vector_of_another_name_is_refused() -> None:
    client = QdrantClient(":memory:")
    client.create_collection("docs", {"other": models.VectorParams(size=16, distance=models.Distance.COSINE)})
    with pytest.raises(InvalidInputError, match=r"no vector named 'text-dense', only \['other'\]"):
        llama_index(li_store(client)).retrieve(QUESTIONS[0])
    client.close()


def test_a_quantized_collection_is_not_taken_at_its_word() -> None:
    """The local mode ignores quantization, so its scores stay true; the vectors must be asked for all the same."""
    client = QdrantClient(":memory:")
    client.create_collection(
        "docs",
        {
            "text-dense": models.VectorParams(
                size=16,
                distance=models.Distance.COSINE,
                quantization_config=models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type="int8")),
            )
        },
    )
    store = li_store(client)
    forms.add_nodes(store, CORPUS.items)
    asked = []
    query = client.query_batch_points

    def watched(name: str, requests: Any, **more: Any) -> Any:
        asked.extend(request.with_vector for request in requests)
        return query(name, requests=requests, **more)

    client.query_batch_points = watched
    assert ids(llama_index(store, check=False).retrieve(QUESTIONS[0])) == expected()
    assert asked == [["text-dense"]] * 2
    client.close()


def test_two_clients_in_memory_are_two_databases() -> None:
    client, aclient = QdrantClient(":memory:"), AsyncQdrantClient(":memory:")
    store = li_store(client, aclient=aclient)
    forms.add_nodes(store, CORPUS.items)
    assert ids(asyncio.run(llama_index(store).aretrieve(QUESTIONS[0]))) == expected()
    client.close()


def test_only_an_asynchronous_client_is_not_enough() -> None:
    with pytest.raises(InvalidInputError, match="only an asynchronous client"):
        llama_index(li_store(None, aclient=AsyncQdrantClient(":memory:")))


def test_langchain_filters_and_modes() -> None:
    module = pytest.importorskip("langchain_qdrant")
    from commonscale.langchain import StandardizedMultiModalRetriever

    client = QdrantClient(":memory:")
    client.create_collection("docs", models.VectorParams(size=16, distance=models.Distance.COSINE))
    embeddings = forms.lc_embeddings(questions=CORPUS.vectors)
    store = module.QdrantVectorStore(client, "docs", embeddings, validate_collection_config=False)
    forms.add_documents(store, CORPUS.items)
    retriever = StandardizedMultiModalRetriever(store=store, raw=True)
    with pytest.raises(InvalidInputError, match=r"must be a qdrant_client\.models\.Filter, got \{'parity': 0\}"):
        retriever.invoke(QUESTIONS[0], filter={"parity": 0})
    images = models.FieldCondition(key="metadata.modality", match=models.MatchValue(value="image"))
    own = StandardizedMultiModalRetriever(store=store, raw=True, k=5, modality_filters={"image": images})
    assert [d.id for d in own.invoke(QUESTIONS[0])] == CORPUS.nearest(0, 5, "image")
    assert np.isclose(own.invoke(QUESTIONS[0])[0].metadata["commonscale_cosine"], CORPUS.cosines("image")[1][0].max())
    store.retrieval_mode = module.RetrievalMode.SPARSE
    with pytest.raises(InvalidInputError, match="is in sparse mode"):
        StandardizedMultiModalRetriever(store=store, raw=True)
    client.close()
