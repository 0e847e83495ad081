"""What is particular to Qdrant."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client")

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from commonscale.core.errors import CommonscaleWarning, InvalidInputError, StoreCheckError, UnknownScoreKindError
from commonscale.stores.qdrant import QdrantTable
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
    with pytest.warns(CommonscaleWarning, match="'docs' does not exist"):
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


def recreate(client: Any, distance: Any, norm: float) -> None:
    """Delete the collection, and make it anew with another distance over vectors of other norms."""
    client.delete_collection("docs")
    client.create_collection("docs", models.VectorParams(size=16, distance=distance))
    forms.add_nodes(li_store(client), Corpus(norm=norm).items)


@pytest.mark.parametrize("distance", [models.Distance.DOT, models.Distance.EUCLID])
def test_a_collection_that_is_made_anew_with_another_distance_is_checked_again(distance: Any) -> None:
    client = QdrantClient(":memory:")
    store = li_store(client)
    forms.add_nodes(store, CORPUS.items)
    retriever = llama_index(store)
    assert ids(retriever.retrieve(QUESTIONS[0])) == expected()
    recreate(client, distance, norm=50.0)
    with pytest.raises(StoreCheckError, match=r"error \(unnormalized\): .* from 0\.0?\d+ to \d+"):
        retriever.retrieve(QUESTIONS[0])
    with pytest.raises(StoreCheckError):
        asyncio.run(retriever.aretrieve(QUESTIONS[0]))
    recreate(client, distance, norm=1.0)
    assert ids(retriever.retrieve(QUESTIONS[0])) == expected()
    client.close()


def test_cosines_stay_true_when_the_distance_changes_between_searches_without_a_check() -> None:
    client = QdrantClient(":memory:")
    store = li_store(client)
    forms.add_nodes(store, CORPUS.items)
    retriever = llama_index(store, check=False)
    before = retriever.retrieve(QUESTIONS[0])
    recreate(client, models.Distance.DOT, norm=1.0)
    after = retriever.retrieve(QUESTIONS[0])
    assert [hit.score for hit in after] == pytest.approx([hit.score for hit in before], abs=1e-5)
    recreate(client, models.Distance.EUCLID, norm=1.0)
    assert ids(retriever.retrieve(QUESTIONS[0])) == expected()
    recreate(client, models.Distance.MANHATTAN, norm=1.0)
    for _ in range(2):
        with pytest.raises(UnknownScoreKindError, match="manhattan"):
            retriever.retrieve(QUESTIONS[0])
    client.delete_collection("docs")
    with pytest.warns(CommonscaleWarning, match="'docs' does not exist"):
        assert retriever.retrieve(QUESTIONS[0]) == []
    client.close()


def test_settings_of_a_local_collection_are_read_once_while_it_is_the_same() -> None:
    client = QdrantClient(":memory:")
    store = li_store(client)
    forms.add_nodes(store, CORPUS.items)
    read, get = [], client.get_collection
    client.get_collection = lambda name: read.append(name) or get(name)
    table = QdrantTable(client, "docs", lambda: None)
    for _ in range(3):
        table.search(CORPUS.questions[:2], 3, with_vectors=False)
        assert (table.trusted, table.version) == (True, table.read_version())
    assert read == ["docs"]
    client.close()


class FakeServersClient:
    """A fake of a client of a server: it counts how often it is asked for settings, and is not in local mode."""

    _client = object()

    def __init__(self, client: QdrantClient) -> None:
        self.client, self.asked = client, 0

    def collection_exists(self, name: str) -> bool:
        return self.client.collection_exists(name)

    def get_collection(self, name: str) -> Any:
        self.asked += 1
        return self.client.get_collection(name)

    def query_batch_points(self, name: str, requests: Any) -> Any:
        return self.client.query_batch_points(name, requests=requests)


def test_settings_of_a_server_are_read_again_after_some_seconds() -> None:
    local = QdrantClient(":memory:")
    forms.add_nodes(li_store(local), CORPUS.items)
    client, now = FakeServersClient(local), [100.0]
    table = QdrantTable(client, "docs", lambda: None, clock=lambda: now[0])
    assert table.version is None
    assert client.asked == 0
    known = table.read_version()
    for now[0] in (100.0, 104.9):
        assert (table.version, table.trusted, client.asked) == (known, True, 1)
    recreate(local, models.Distance.DOT, norm=50.0)
    now[0] = 105.0
    assert (table.version, client.asked) == (None, 1)
    assert (table.trusted, table.score_kind, client.asked) == (False, "inner_product", 2)
    assert table.version not in (None, known)
    local.delete_collection("docs")
    now[0] = 110.0
    assert (len(table.search(CORPUS.questions[:1], 3, with_vectors=True)[0].ids), table.absent) == (
        0,
        "the Qdrant collection 'docs'",
    )
    local.close()


def li_labeled(client: Any, key: str) -> Any:
    store = li_store(client)
    nodes = forms.nodes(CORPUS.items)
    for node in nodes:
        node.metadata[key] = node.metadata.pop("modality")
    store.add(nodes)
    return store


@pytest.mark.parametrize("key", ["my.key", "my key", "a[0]", "kind", "größe", "a.b c"])
def test_the_key_of_the_modality_is_no_path(key: str) -> None:
    client = QdrantClient(":memory:")
    assert ids(llama_index(li_labeled(client, key), modality_key=key).retrieve(QUESTIONS[0])) == expected()
    client.close()


@pytest.mark.parametrize("key", ["my.key", "my key"])
def test_the_key_of_the_modality_is_no_path_for_langchain(key: str) -> None:
    module = pytest.importorskip("langchain_qdrant")
    from commonscale.langchain import StandardizedMultiModalRetriever

    client = QdrantClient(":memory:")
    client.create_collection("docs", models.VectorParams(size=16, distance=models.Distance.COSINE))
    store = module.QdrantVectorStore(
        client,
        "docs",
        forms.lc_embeddings(CORPUS.items, CORPUS.vectors),
        metadata_payload_key="meta.data",
        validate_collection_config=False,
    )
    documents = forms.documents(CORPUS.items)
    for document in documents:
        document.metadata[key] = document.metadata.pop("modality")
    store.add_documents(documents, ids=[item.id for item in CORPUS.items])
    retriever = StandardizedMultiModalRetriever(store=store, raw=True, k=10, modality_key=key)
    assert [document.id for document in retriever.invoke(QUESTIONS[0])] == expected()
    client.close()


def test_a_key_that_qdrant_cannot_name_is_refused() -> None:
    client = QdrantClient(":memory:")
    with pytest.raises(InvalidInputError, match=r"cannot filter by the payload key 'a\"b'.*modality_key="):
        llama_index(li_store(client), modality_key='a"b')
    client.close()


def test_a_filter_that_the_store_cannot_translate_is_refused_with_what_it_can() -> None:
    from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

    client = QdrantClient(":memory:")
    for operator, value, words in (
        (FilterOperator.ALL, ["a"], r"ALL is not supported.*Supported operators: EQ, NE, GT"),
        (FilterOperator.GT, "words", "valid number"),
    ):
        given = MetadataFilters(filters=[MetadataFilter(key="parity", value=value, operator=operator)])
        with pytest.raises(InvalidInputError, match=rf"(?s)a QdrantVectorStore cannot filter by .*{words}"):
            llama_index(li_store(client), filters=given)
    client.close()
