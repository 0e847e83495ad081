"""Elasticsearch, by a fake server of both generations, by every similarity of which a cosine can be made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place


def llama_store(url: str, index: str, client: Any = None, metric: str = "COSINE", **settings: Any) -> Any:
    """A LlamaIndex store, whose constructor would change how asyncio works for every other test (nest_asyncio)."""
    from elasticsearch import AsyncElasticsearch
    from elasticsearch.helpers.vectorstore import AsyncDenseVectorStrategy, DistanceMetric
    from llama_index.vector_stores.elasticsearch import ElasticsearchStore

    settings.setdefault("retrieval_strategy", AsyncDenseVectorStrategy(distance=DistanceMetric[metric]))
    with patch("llama_index.vector_stores.elasticsearch.base.nest_asyncio.apply"):
        return ElasticsearchStore(index, es_client=client or AsyncElasticsearch(url), **settings)


def awaited(url: str, call: Callable[[Any], Any]) -> Any:
    """Await something done with an asynchronous client of its own, since one serves a single event loop."""
    from elasticsearch import AsyncElasticsearch

    async def called() -> Any:
        async with AsyncElasticsearch(url) as client:
            return await call(client)

    return asyncio.run(called())


def _base(client: Any) -> str:
    config = client.transport.node_pool.all()[0].config
    return f"{config.scheme}://{config.host}:{config.port}"


def add_nodes(store: Any, items: Sequence[Item], metric: str = "COSINE") -> None:
    """Add items to a LlamaIndex store."""
    url = _base(store.client)
    awaited(url, lambda client: llama_store(url, store.index_name, client, metric).async_add(forms.nodes(items)))


def _delete_nodes(store: Any, ids: list[str]) -> None:
    url = _base(store.client)
    awaited(url, lambda client: llama_store(url, store.index_name, client).adelete_nodes(ids))


def _llama(server: str, metric: str) -> dict[str, Any]:
    def opened(place: Place) -> Any:
        return llama_store(place.server(server), place.name, metric=metric)

    def add(store: Any, items: Sequence[Item]) -> None:
        add_nodes(store, items, metric)

    return {"opened": opened, "add": add, "delete": _delete_nodes}


def chain_store(place: Place, client: Any, strategy: Any, cls: str = "ElasticsearchStore") -> Any:
    """A LangChain store."""
    import langchain_elasticsearch

    return getattr(langchain_elasticsearch, cls)(
        place.name, embedding=forms.lc_embeddings(), client=client, strategy=strategy, num_dimensions=place.dimension
    )


def _chain(server: str, metric: str) -> dict[str, Any]:
    def opened(place: Place) -> Any:
        from elasticsearch import Elasticsearch
        from langchain_elasticsearch import DenseVectorScriptScoreStrategy, DenseVectorStrategy, DistanceMetric

        client = Elasticsearch(place.server(server))
        place.on_close(client.close)
        exact = metric == "exact"
        return chain_store(
            place,
            client,
            DenseVectorScriptScoreStrategy() if exact else DenseVectorStrategy(distance=DistanceMetric[metric]),
        )

    return {"opened": opened, "add": forms.add_documents, "delete": lambda store, ids: store.delete(ids)}


def _async_chain(server: str, metric: str) -> dict[str, Any]:
    def store_of(place: Place, client: Any) -> Any:
        from langchain_elasticsearch import AsyncDenseVectorStrategy, DistanceMetric

        strategy = AsyncDenseVectorStrategy(distance=DistanceMetric[metric])
        return chain_store(place, client, strategy, "AsyncElasticsearchStore")

    def opened(place: Place) -> Any:
        from elasticsearch import AsyncElasticsearch

        store = store_of(place, AsyncElasticsearch(place.server(server)))
        store.place = place
        return store

    def add(store: Any, items: Sequence[Item]) -> None:
        def added(client: Any) -> Any:
            other = store_of(store.place, client)
            other.embeddings.learn(items)
            return other.aadd_documents(forms.documents(items), ids=[item.id for item in items])

        awaited(_base(store.client), added)

    def delete(store: Any, ids: list[str]) -> None:
        awaited(_base(store.client), lambda client: store_of(store.place, client).adelete(ids))

    return {"opened": opened, "add": add, "delete": delete}


def _made(opened: Callable[[Place], Any], add: Callable[[Any, Sequence[Item]], None]) -> Callable[..., Any]:
    def make(place: Place, items: Sequence[Item]) -> Any:
        store = opened(place)
        if items:
            add(store, items)
        return store

    return make


def _kind(version: int, framework: str, package: str, metric: str, parts: Callable[..., dict[str, Any]]) -> Kind:
    said = parts(f"fake_elasticsearch_{version}", metric)
    name = metric.lower() + ("-async" if parts is _async_chain else "")
    return Kind(
        f"fake-elasticsearch-{version}-{name}",
        framework,
        _made(said["opened"], said["add"]),
        said["add"],
        (package,),
        said["opened"],
        said["delete"],
        forms.li_even if framework == "llama_index" else lambda: [{"term": {"metadata.parity": 0}}],
        norm=5.0 if metric in ("COSINE", "exact") else 1.0,
    )


_LLAMA = ("llama_index", "llama_index.vector_stores.elasticsearch")
_CHAIN = ("langchain", "langchain_elasticsearch")

KINDS = [
    _kind(8, *_LLAMA, "COSINE", _llama),
    *(_kind(9, *_LLAMA, metric, _llama) for metric in ("COSINE", "DOT_PRODUCT", "EUCLIDEAN_DISTANCE")),
    _kind(8, *_CHAIN, "COSINE", _chain),
    *(_kind(9, *_CHAIN, metric, _chain) for metric in ("COSINE", "MAX_INNER_PRODUCT", "exact")),
    _kind(9, *_CHAIN, "COSINE", _async_chain),
]
