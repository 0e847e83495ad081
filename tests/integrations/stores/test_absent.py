"""A store whose collection does not exist, as of a misspelt name: nothing is found, and that is said once."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commonscale import Question
from commonscale.core.errors import CommonscaleWarning
from store_suite import elasticsearch, forms, lancedb, milvus, opensearch, postgres, weaviate
from store_suite.corpus import QUESTIONS, Corpus
from store_suite.fakes.http import serve
from store_suite.kind import Place

pytest.importorskip("llama_index.core")

from commonscale.llama_index import StandardizedMultiModalRetriever
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from llama_world import FixedEmbedding

CORPUS = Corpus()
QUESTION = Question(vector=CORPUS.questions[0])


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(tmp_path, CORPUS.dimension, request.getfixturevalue, "misspelt")
    yield made
    made.close()


def in_qdrant(place: Place) -> Any:
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    place.on_close(client.close)
    return open_source(module.QdrantVectorStore(place.name, client=client), StoreRequest("image"))


def in_lancedb(place: Place) -> Any:
    pytest.importorskip("llama_index.vector_stores.lancedb")
    return open_source(lancedb.li_open(place), StoreRequest("image"))


def in_lancedb_of_langchain(place: Place) -> Any:
    pytest.importorskip("lancedb")
    pytest.importorskip("langchain_community")
    from commonscale.langchain.stores import source_of
    from commonscale.langchain.view import View

    return source_of(lancedb.lc_open(place), View("image"))


def in_milvus(place: Place) -> Any:
    pytest.importorskip("llama_index.vector_stores.milvus")
    pytest.importorskip("milvus_lite")
    store = milvus.li_open("COSINE", place)
    store.client.drop_collection(place.name)
    return open_source(store, StoreRequest("image"))


def in_postgres(place: Place) -> Any:
    if reason := postgres.no_server():
        pytest.skip(reason)
    pytest.importorskip("llama_index.vector_stores.postgres")
    return open_source(postgres.li_open(place, perform_setup=False), StoreRequest("image"))


def in_elasticsearch(place: Place) -> Any:
    pytest.importorskip("llama_index.vector_stores.elasticsearch")
    from store_suite.fakes.elasticsearch import FakeElasticsearch

    return open_source(
        elasticsearch.llama_store(served(place, FakeElasticsearch("9.2.0")), "misspelt"), StoreRequest("image")
    )


def in_opensearch(place: Place) -> Any:
    pytest.importorskip("llama_index.vector_stores.opensearch")
    from store_suite.fakes.opensearch import FakeOpenSearch

    store = opensearch.llama_store(served(place, FakeOpenSearch()), "misspelt", place.dimension)
    return open_source(store, StoreRequest("image"))


def served(place: Place, fake: Any) -> str:
    serving = serve(fake)
    serving.__enter__()
    place.on_close(lambda: serving.__exit__(None, None, None))
    return str(fake.url)


def in_weaviate(place: Place) -> Any:
    module = pytest.importorskip("llama_index.vector_stores.weaviate")
    from store_suite.fakes.weaviate import serve_weaviate

    serving = serve_weaviate()
    fake = serving.__enter__()
    place.on_close(lambda: serving.__exit__(None, None, None))
    client = weaviate.connected(fake)
    place.on_close(client.close)
    store = module.WeaviateVectorStore(weaviate_client=client, index_name="Misspelt")
    client.collections.delete("Misspelt")
    return open_source(store, StoreRequest("image"))


STORES: dict[str, tuple[Callable[[Place], Any], str]] = {
    "qdrant": (in_qdrant, "Qdrant collection 'misspelt'"),
    "lancedb": (in_lancedb, "LanceDB table 'misspelt'"),
    "lancedb-langchain": (in_lancedb_of_langchain, "LanceDB table 'misspelt'"),
    "milvus": (in_milvus, "Milvus collection 'misspelt'"),
    "postgres": (in_postgres, r"""PostgreSQL table "misspelt"."data_items" with a column 'embedding'"""),
    "elasticsearch": (in_elasticsearch, "index 'misspelt'"),
    "opensearch": (in_opensearch, "index 'misspelt'"),
    "weaviate": (in_weaviate, "Weaviate collection 'Misspelt'"),
}


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("name", STORES)
def test_a_collection_that_does_not_exist_is_named_once(name: str, way: str, place: Place) -> None:
    make, named = STORES[name]
    source = make(place)

    async def asked() -> Any:
        return await source.asearch([QUESTION] * 2, 3)

    def ask() -> list[Any]:
        found = (
            asyncio.run(asked()) if way == "async" and hasattr(source, "asearch") else source.search([QUESTION] * 2, 3)
        )
        return [one.ids for one in found]

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", CommonscaleWarning)
        assert ask() == [(), ()]
        assert ask() == [(), ()]
    (message,) = [str(one.message) for one in warned if issubclass(one.category, CommonscaleWarning)]
    assert message.startswith(f"the {named} does not exist, so the search for 'image' documents in this ")
    assert message.endswith("finds nothing until it is created, as adding documents does; check its name")


def test_a_misspelt_collection_does_not_make_a_ranking_onesided_without_a_word(place: Place) -> None:
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    place.on_close(client.close)
    texts = module.QdrantVectorStore("texts", client=client)
    forms.add_nodes(texts, CORPUS.of("text"))
    forms.add_nodes(module.QdrantVectorStore("images", client=client), CORPUS.of("image"))
    misspelt = module.QdrantVectorStore("imagse", client=client)

    def retriever() -> Any:
        model = FixedEmbedding(vectors=CORPUS.vectors)
        return StandardizedMultiModalRetriever(text_store=texts, image_store=misspelt, embed_model=model, raw=True)

    with pytest.warns(CommonscaleWarning, match="'imagse' does not exist, so the search for 'image'"):
        assert retriever().retrieve(QUESTIONS[0])
    with pytest.warns(CommonscaleWarning, match="'imagse' does not exist, so the search for 'image'"):
        assert asyncio.run(retriever().aretrieve(QUESTIONS[0]))


def test_an_empty_collection_and_a_filter_that_nothing_passes_are_no_reason_to_warn(place: Place) -> None:
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    place.on_close(client.close)
    store = module.QdrantVectorStore("docs", client=client)
    forms.add_nodes(store, CORPUS.items)
    none = MetadataFilters(filters=[MetadataFilter(key="parity", value=7)])
    assert not open_source(store, StoreRequest("text", filters=none)).search([QUESTION], 3)[0].ids
    store.delete_nodes([item.id for item in CORPUS.items])
    assert not open_source(store, StoreRequest("text")).search([QUESTION], 3)[0].ids
