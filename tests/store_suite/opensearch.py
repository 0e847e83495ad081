"""OpenSearch, by a fake server, by every space of which a cosine can be made and with engines that filter or do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place


def method(engine: str, space: str) -> dict[str, Any]:
    """How an index compares vectors."""
    return {"name": "hnsw", "space_type": space, "engine": engine, "parameters": {"ef_construction": 256, "m": 48}}


def llama_store(url: str, name: str, dimension: int, engine: str = "faiss", space: str = "l2", **settings: Any) -> Any:
    """A LlamaIndex store."""
    from llama_index.vector_stores.opensearch import OpensearchVectorClient, OpensearchVectorStore

    return OpensearchVectorStore(OpensearchVectorClient(url, name, dimension, method=method(engine, space), **settings))


def chain_store(url: str, name: str, **settings: Any) -> Any:
    """A LangChain store."""
    from langchain_community.vectorstores import OpenSearchVectorSearch

    return OpenSearchVectorSearch(url, name, forms.lc_embeddings(), **settings)


def _llama(engine: str, space: str) -> Kind:
    def opened(place: Place) -> Any:
        store = llama_store(place.server("fake_opensearch"), place.name, place.dimension, engine, space)
        place.on_close(store.client._os_client.close)
        return store

    return Kind(
        f"fake-opensearch-{engine}-{space}",
        "llama_index",
        _made(opened, forms.add_nodes),
        forms.add_nodes,
        ("llama_index.vector_stores.opensearch",),
        opened,
        lambda store, ids: store.delete_nodes(ids),
        forms.li_even,
        norm=5.0 if space == "cosinesimil" else 1.0,
    )


def _chain(engine: str, space: str) -> Kind:
    def opened(place: Place) -> Any:
        store = chain_store(place.server("fake_opensearch"), place.name)
        place.on_close(store.client.close)
        return store

    def add(store: Any, items: Sequence[Item]) -> None:
        store.embeddings.learn(items)
        ids = [item.id for item in items]
        store.add_documents(forms.documents(items), ids=ids, engine=engine, space_type=space)

    return Kind(
        f"fake-opensearch-{engine}-{space}",
        "langchain",
        _made(opened, add),
        add,
        ("langchain_community.vectorstores", "opensearchpy"),
        opened,
        lambda store, ids: store.delete(ids),
        lambda: {"term": {"metadata.parity": 0}},
        norm=5.0 if space == "cosinesimil" else 1.0,
    )


def _made(opened: Callable[[Place], Any], add: Callable[[Any, Sequence[Item]], None]) -> Callable[..., Any]:
    def make(place: Place, items: Sequence[Item]) -> Any:
        store = opened(place)
        if items:
            add(store, items)
        return store

    return make


KINDS = [
    *(_llama(*pair) for pair in (("faiss", "l2"), ("lucene", "cosinesimil"), ("faiss", "innerproduct"))),
    *(_chain(*pair) for pair in (("nmslib", "l2"), ("nmslib", "cosinesimil"), ("faiss", "cosinesimil"))),
]
