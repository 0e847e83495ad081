"""The frameworks' own stores in memory, and the embedded index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place


def _simple(place: Place, items: Sequence[Item]) -> Any:
    from llama_index.core.vector_stores import SimpleVectorStore

    store = SimpleVectorStore()
    forms.add_nodes(store, items)
    store.persist(str(place.folder / "store.json"))
    return store


def _reopen_simple(place: Place) -> Any:
    from llama_index.core.vector_stores import SimpleVectorStore

    return SimpleVectorStore.from_persist_path(str(place.folder / "store.json"))


def _in_memory(place: Place, items: Sequence[Item]) -> Any:
    from langchain_core.vectorstores import InMemoryVectorStore

    store = InMemoryVectorStore(forms.lc_embeddings())
    forms.add_documents(store, items)
    store.dump(str(place.folder / "store.json"))
    return store


def _reopen_in_memory(place: Place) -> Any:
    from langchain_core.vectorstores import InMemoryVectorStore

    return InMemoryVectorStore.load(str(place.folder / "store.json"), forms.lc_embeddings())


def _lc_even() -> Any:
    return lambda document: document.metadata["parity"] == 0


def _index(place: Place, items: Sequence[Item]) -> Any:
    from commonscale.index import FaissIndex

    index = FaissIndex.create(place.folder / "index", place.dimension)
    place.on_close(index.save)
    _add_to_index(index, items)
    return index


def _reopen_index(place: Place) -> Any:
    from commonscale.index import FaissIndex

    return FaissIndex.open(place.folder / "index")


def _add_to_index(index: Any, items: Sequence[Item]) -> None:
    import numpy as np

    from commonscale.index import Document

    if items:
        documents = [Document(i.id, i.modality, i.text, metadata=i.metadata) for i in items]
        index.add(documents, np.array([i.vector for i in items], dtype=np.float32))


_NO_FILTERS = {"filters": "commonscale's own index has no metadata filters"}

KINDS = [
    Kind(
        "simple",
        "llama_index",
        _simple,
        forms.add_nodes,
        ("llama_index.core",),
        _reopen_simple,
        lambda store, ids: store.delete_nodes(ids),
        forms.li_even,
        norm=5.0,
        nodes="ids",
    ),
    Kind(
        "in-memory",
        "langchain",
        _in_memory,
        forms.add_documents,
        ("langchain_core",),
        _reopen_in_memory,
        lambda store, ids: store.delete(ids),
        _lc_even,
        norm=5.0,
    ),
    Kind(
        "index",
        "llama_index",
        _index,
        _add_to_index,
        ("llama_index.core", "faiss"),
        _reopen_index,
        lambda store, ids: store.delete(ids),
        skips=_NO_FILTERS,
        norm=5.0,
    ),
    Kind(
        "index",
        "langchain",
        _index,
        _add_to_index,
        ("langchain_core", "faiss"),
        _reopen_index,
        lambda store, ids: store.delete(ids),
        _lc_even,
        norm=5.0,
    ),
]
