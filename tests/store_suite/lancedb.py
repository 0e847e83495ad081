"""LanceDB, embedded on disk. Both frameworks search it by squared L2; we ask for cosines, so any norm will do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from store_suite import forms
from store_suite.corpus import Item
from store_suite.kind import Kind, Place


def li_open(place: Place) -> Any:
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    with warnings.catch_warnings():
        # The store looks for its table in a way that lancedb would have it give up.
        warnings.filterwarnings("ignore", "table_names", DeprecationWarning)
        return LanceDBVectorStore(uri=str(place.folder), table_name=place.name)


def _li_make(place: Place, items: Sequence[Item]) -> Any:
    store = li_open(place)
    forms.add_nodes(store, items)
    return store


def _li_delete(store: Any, ids: Sequence[str]) -> None:
    # The store's own delete_nodes() puts ids into double quotes, which LanceDB takes for the names of columns.
    quoted = ", ".join(f"'{node_id}'" for node_id in ids)
    store.table.delete(f"id IN ({quoted})")


def lc_open(place: Place) -> Any:
    from langchain_community.vectorstores import LanceDB

    # The default, "overwrite", drops what was added before.
    return LanceDB(
        uri=str(place.folder), table_name=place.name, embedding=forms.lc_embeddings(), mode="append", api_key=""
    )


def _lc_make(place: Place, items: Sequence[Item]) -> Any:
    store = lc_open(place)
    if items:
        forms.add_documents(store, items)
    return store


KINDS = [
    Kind(
        "lancedb",
        "llama_index",
        _li_make,
        forms.add_nodes,
        ("llama_index.vector_stores.lancedb",),
        li_open,
        _li_delete,
        forms.li_even,
        norm=5.0,
    ),
    Kind(
        "lancedb",
        "langchain",
        _lc_make,
        forms.add_documents,
        ("langchain_community", "lancedb"),
        lc_open,
        lambda store, ids: store.delete(ids),
        lambda: "metadata.parity = 0",
        norm=5.0,
    ),
]
