"""Weaviate, by a fake server, by every distance of which a cosine can be made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.fakes.weaviate import FakeWeaviate
from store_suite.kind import Kind, Place


def parameters(server: FakeWeaviate) -> Any:
    """Where a client finds the fake."""
    from weaviate.connect import ConnectionParams

    return ConnectionParams.from_url(server.url, server.grpc_port)


def connected(server: FakeWeaviate) -> Any:
    """A connected client, which does not ask the package index for newer versions of itself."""
    import weaviate

    client = weaviate.WeaviateClient(parameters(server), skip_init_checks=True)
    client.connect()
    return client


def _client(place: Place) -> Any:
    server = place.server("fake_weaviate")
    if server.client is None:
        server.client = connected(server)
    return server.client


def collection_of(place: Place) -> str:
    """The collection at a place; names begin with a capital."""
    return place.name.capitalize()


def create(client: Any, name: str, distance: str, *, named: Sequence[str] = ()) -> None:
    """Create a collection that compares by a distance; the frameworks' stores make only those by cosine."""
    index = {"vectorIndexConfig": {"distance": distance}}
    vectors: dict[str, Any] = {"vectorConfig": {n: {"vectorizer": {"none": {}}, **index} for n in named}}
    client.collections.create_from_dict({"class": name, "properties": [], **(vectors if named else index)})


def _llama(distance: str) -> Kind:
    def opened(place: Place) -> Any:
        from llama_index.vector_stores.weaviate import WeaviateVectorStore

        return WeaviateVectorStore(weaviate_client=_client(place), index_name=collection_of(place))

    return _kind(
        "llama_index", "llama_index.vector_stores.weaviate", distance, opened, forms.add_nodes,
        lambda store, ids: store.delete_nodes(ids), forms.li_even,
    )  # fmt: skip


def _chain(distance: str) -> Kind:
    def opened(place: Place) -> Any:
        from langchain_weaviate import WeaviateVectorStore

        return WeaviateVectorStore(_client(place), collection_of(place), "text", forms.lc_embeddings())

    def even() -> Any:
        from weaviate.classes.query import Filter

        return Filter.by_property("parity").equal(0.0)

    return _kind(
        "langchain", "langchain_weaviate", distance, opened, forms.add_documents,
        lambda store, ids: store.delete(ids), even,
    )  # fmt: skip


def _kind(
    framework: str, package: str, distance: str, opened: Callable[[Place], Any], add: Any, delete: Any, even: Any
) -> Kind:
    def make(place: Place, items: Sequence[Item]) -> Any:
        create(_client(place), collection_of(place), distance)
        store = opened(place)
        if items:
            add(store, items)
        return store

    norm = 5.0 if distance == "cosine" else 1.0
    return Kind(f"fake-weaviate-{distance}", framework, make, add, (package,), opened, delete, even, norm=norm)


async def with_async_client(server: FakeWeaviate, call: Callable[[Any], Any]) -> Any:
    """Await something done with an asynchronous client of its own, since one serves a single event loop."""
    import weaviate

    async with weaviate.WeaviateAsyncClient(parameters(server), skip_init_checks=True) as client:
        return await call(client)


def awaited(server: FakeWeaviate, call: Callable[[Any], Any]) -> Any:
    """As ``with_async_client``, in an event loop of its own."""
    return asyncio.run(with_async_client(server, call))


KINDS = [
    *(_llama(distance) for distance in ("cosine", "dot")),
    *(_chain(distance) for distance in ("cosine", "l2-squared")),
]
