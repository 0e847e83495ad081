"""Milvus Lite on disk, by every metric that the store classes offer.

LlamaIndex's store needs pymilvus below 3 and LangChain's pymilvus 3, so each is tested in an environment of its own:
``make test`` makes a second, small one for the LangChain kinds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place

METRICS = ("COSINE", "IP", "L2")

_ONCE = dict.fromkeys(
    ("async", "reopen", "threads", "delete", "add", "images", "empty", "absent"),
    "Milvus Lite is slow, and this does not depend on the metric: it is run with COSINE and with LangChain's default",
)


def uri(place: Place) -> str:
    """Name the file of a place; its server ends with the place."""
    from milvus_lite.server_manager import server_manager_instance

    path = str(place.folder / "milvus.db")
    place.on_close(lambda: server_manager_instance.release_server(path))
    return path


def li_open(metric: str, place: Place, **settings: Any) -> Any:
    from llama_index.vector_stores.milvus import MilvusVectorStore

    store = MilvusVectorStore(
        uri=uri(place), collection_name=place.name, dim=place.dimension, similarity_metric=metric, **settings
    )
    place.on_close(store.client.close)
    return store


def lc_open(metric: str | None, place: Place, **settings: Any) -> Any:
    """Open a LangChain store; no metric leaves the index as it is by default, AUTOINDEX by L2."""
    from langchain_milvus import Milvus

    index = None if metric is None else {"index_type": "FLAT", "metric_type": metric, "params": {}}
    store = Milvus(
        forms.lc_embeddings(),
        collection_name=place.name,
        connection_args={"uri": uri(place)},
        index_params=index,
        **{"enable_dynamic_field": True, **settings},
    )
    place.on_close(store.client.close)
    return store


def lc_missing() -> str | None:
    """Say why LangChain's store is not there."""
    if importlib.util.find_spec("langchain_milvus") is not None:
        return None
    return (
        "langchain-milvus needs pymilvus>=3 and llama-index-vector-stores-milvus pymilvus<3, so it is not installed "
        "beside it; `make test-milvus` runs this in an environment of its own"
    )


def _maker(opened: Callable[[Place], Any], add: Callable[[Any, Sequence[Item]], None]) -> Callable[..., Any]:
    def make(place: Place, items: Sequence[Item]) -> Any:
        store = opened(place)
        if items:
            add(store, items)
        return store

    return make


def _kinds() -> list[Kind]:
    kinds = []
    for metric in METRICS:
        opened = partial(li_open, metric)
        kinds.append(
            Kind(
                f"milvus-{metric.lower()}",
                "llama_index",
                _maker(opened, forms.add_nodes),
                forms.add_nodes,
                ("llama_index.vector_stores.milvus", "milvus_lite"),
                opened,
                lambda store, ids: store.delete_nodes(ids),
                forms.li_even,
                norm=5.0 if metric == "COSINE" else 1.0,
                skips={} if metric == "COSINE" else _ONCE,
            )
        )
    for lc_metric in (*METRICS, None):
        opened = partial(lc_open, lc_metric)
        kinds.append(
            Kind(
                f"milvus-{'default' if lc_metric is None else lc_metric.lower()}",
                "langchain",
                _maker(opened, forms.add_documents),
                forms.add_documents,
                (),
                opened,
                lambda store, ids: store.delete(ids),
                lambda: "parity == 0",
                norm=5.0 if lc_metric == "COSINE" else 1.0,
                skips=_ONCE if lc_metric in ("IP", "L2") else {},
                why_not=lc_missing,
            )
        )
    return kinds


KINDS = _kinds()
