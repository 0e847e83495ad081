"""Qdrant in the client's local mode, in memory and on disk, by every distance of which a cosine can be made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place


def _client(place: Place, disk: bool) -> Any:
    from qdrant_client import QdrantClient

    client = QdrantClient(path=str(place.folder)) if disk else QdrantClient(":memory:")
    place.on_close(client.close)
    return client


def _params(place: Place, distance: str) -> Any:
    from qdrant_client import models

    return models.VectorParams(size=place.dimension, distance=models.Distance[distance])


def _li_open(disk: bool, place: Place) -> Any:
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    return QdrantVectorStore(place.name, client=_client(place, disk), payload_indexes=None)


def _li_make(disk: bool, distance: str) -> Callable[[Place, Sequence[Item]], Any]:
    def make(place: Place, items: Sequence[Item]) -> Any:
        from llama_index.vector_stores.qdrant import QdrantVectorStore

        client = _client(place, disk)
        if distance != "COSINE":  # The store itself makes collections with cosine distance only.
            client.create_collection(place.name, {"text-dense": _params(place, distance)})
        store = QdrantVectorStore(place.name, client=client)
        if items:
            forms.add_nodes(store, items)
        return store

    return make


def _lc_open(disk: bool, distance: str, place: Place) -> Any:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import models

    return QdrantVectorStore(
        _client(place, disk),
        place.name,
        forms.lc_embeddings(),
        distance=models.Distance[distance],
        validate_collection_config=False,
    )


def _lc_make(disk: bool, distance: str) -> Callable[[Place, Sequence[Item]], Any]:
    def make(place: Place, items: Sequence[Item]) -> Any:
        store = _lc_open(disk, distance, place)
        store.client.create_collection(place.name, _params(place, distance))
        if items:
            forms.add_documents(store, items)
        return store

    return make


def _lc_even() -> Any:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key="metadata.parity", match=models.MatchValue(value=0))])


def _kinds() -> list[Kind]:
    kinds = []
    for disk, distance in ((False, "COSINE"), (False, "DOT"), (False, "EUCLID"), (True, "COSINE")):
        name = f"qdrant-{'disk' if disk else 'memory'}-{distance.lower()}"
        norm = 5.0 if distance == "COSINE" else 1.0
        kinds.append(
            Kind(
                name,
                "llama_index",
                _li_make(disk, distance),
                forms.add_nodes,
                ("llama_index.vector_stores.qdrant",),
                (lambda place, disk=disk: _li_open(disk, place)) if disk else None,
                lambda store, ids: store.delete_nodes(ids),
                forms.li_even,
                norm=norm,
            )
        )
        kinds.append(
            Kind(
                name,
                "langchain",
                _lc_make(disk, distance),
                forms.add_documents,
                ("langchain_qdrant",),
                (lambda place, disk=disk, distance=distance: _lc_open(disk, distance, place)) if disk else None,
                lambda store, ids: store.delete(ids),
                _lc_even,
                norm=norm,
            )
        )
    return kinds


KINDS = _kinds()
