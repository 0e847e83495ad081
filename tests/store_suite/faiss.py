"""FAISS indexes of every sort under the stores of both frameworks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place


def _index(sort: str, place: Place, items: Sequence[Item]) -> Any:
    """Make an empty index; one that must be trained is, on what it will hold."""
    import faiss
    import numpy as np

    from sources import unit_rows

    factory, metric = _SORTS[sort][:2]
    index = faiss.index_factory(place.dimension, factory, _metric(metric))
    if not index.is_trained:
        held = np.array([item.vector for item in items], dtype=np.float32)
        index.train(held if len(held) else unit_rows(np.random.default_rng(0), 100, place.dimension))
    if sort == "ivf":
        index.nprobe = 3
    if sort == "hnsw":
        index.hnsw.efSearch = 64
    return index


def _metric(name: str) -> int:
    import faiss

    return {"ip": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2}[name]


_SORTS = {
    "flat-ip": ("Flat", "ip", 1.0, ""),
    "flat-l2": ("Flat", "l2", 1.0, ""),
    "ivf": ("IVF4,Flat", "ip", 0.95, "IVF4,Flat with nprobe 3"),
    "hnsw": ("HNSW16,Flat", "l2", 0.95, "HNSW16,Flat with efSearch 64"),
    "sq8": ("SQ8", "ip", 0.95, "SQ8"),
    "fp16": ("SQfp16", "l2", 0.95, "SQfp16"),
}
"""Factory string, metric, least recall@20, settings in words."""


def _li_make(sort: str) -> Callable[[Place, Sequence[Item]], Any]:
    def make(place: Place, items: Sequence[Item]) -> Any:
        from llama_index.vector_stores.faiss import FaissVectorStore

        store = FaissVectorStore(_index(sort, place, items))
        if items:
            forms.add_nodes(store, items)
        place.on_close(lambda: store.persist(str(place.folder / "faiss.bin")))
        return store

    return make


def _li_reopen(place: Place) -> Any:
    from llama_index.vector_stores.faiss import FaissVectorStore

    return FaissVectorStore.from_persist_path(str(place.folder / "faiss.bin"))


def _map_make(place: Place, items: Sequence[Item]) -> Any:
    import faiss
    from llama_index.vector_stores.faiss import FaissMapVectorStore

    store = FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(place.dimension)))
    if items:
        forms.add_nodes(store, items)
    place.on_close(lambda: store.persist(str(place.folder / "faiss.bin")))
    return store


def _map_reopen(place: Place) -> Any:
    from llama_index.vector_stores.faiss import FaissMapVectorStore

    return FaissMapVectorStore.from_persist_path(str(place.folder / "faiss.bin"))


def _lc_make(sort: str) -> Callable[[Place, Sequence[Item]], Any]:
    def make(place: Place, items: Sequence[Item]) -> Any:
        from langchain_community.docstore import InMemoryDocstore
        from langchain_community.vectorstores.faiss import FAISS
        from langchain_community.vectorstores.utils import DistanceStrategy

        strategies = {
            "flat-ip": DistanceStrategy.MAX_INNER_PRODUCT,
            "cosine": DistanceStrategy.COSINE,
            "ivf": DistanceStrategy.MAX_INNER_PRODUCT,
            "sq8": DistanceStrategy.MAX_INNER_PRODUCT,
        }
        index = _index({"cosine": "flat-l2", "normalized": "flat-l2"}.get(sort, sort), place, items)
        store = FAISS(
            forms.lc_embeddings(),
            index,
            InMemoryDocstore(),
            {},
            normalize_L2=sort == "normalized",
            distance_strategy=strategies.get(sort, DistanceStrategy.EUCLIDEAN_DISTANCE),
        )
        if items:
            forms.add_documents(store, items)
        place.on_close(lambda: store.save_local(str(place.folder)))
        return store

    return make


def _lc_reopen(place: Place) -> Any:
    from langchain_community.vectorstores.faiss import FAISS

    # The file was written a moment ago by this very test.
    return FAISS.load_local(str(place.folder), forms.lc_embeddings(), allow_dangerous_deserialization=True)


def _lc_even() -> Any:
    return {"parity": 0}


def _kinds() -> list[Kind]:
    kinds = [
        Kind(
            "faiss-map-ip",
            "llama_index",
            _map_make,
            forms.add_nodes,
            ("llama_index.vector_stores.faiss",),
            _map_reopen,
            lambda store, ids: store.delete_nodes(ids),
            forms.li_even,
            nodes="ids",
        )
    ]
    no_delete = {"delete": "FaissVectorStore cannot delete"}
    no_ivf_delete = {"delete": "LangChain's FAISS renumbers its rows, which an inverted file does not"}
    for sort, (_, _, recall, settings) in _SORTS.items():
        name = f"faiss-{sort}"
        kinds.append(
            Kind(
                name,
                "llama_index",
                _li_make(sort),
                forms.add_nodes,
                ("llama_index.vector_stores.faiss",),
                _li_reopen,
                None,
                forms.li_even,
                recall=recall,
                settings=settings,
                norm=5.0 if sort.startswith("flat") else 1.0,
                nodes="rows",
                skips=no_delete,
            )
        )
    for sort in (*_SORTS, "cosine", "normalized"):
        recall, settings = _SORTS[sort][2:] if sort in _SORTS else (1.0, "")
        kinds.append(
            Kind(
                f"faiss-{sort}",
                "langchain",
                _lc_make(sort),
                forms.add_documents,
                ("langchain_community.vectorstores.faiss", "faiss"),
                _lc_reopen,
                lambda store, ids: store.delete(ids),
                _lc_even,
                recall=recall,
                settings=settings,
                norm=5.0 if sort in ("flat-ip", "flat-l2", "cosine") else 1.0,
                skips=no_ivf_delete if sort in ("ivf", "hnsw") else {},
            )
        )
    return kinds


KINDS = _kinds()
