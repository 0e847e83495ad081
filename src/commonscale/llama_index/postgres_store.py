"""LlamaIndex's PGVectorStore as a source."""

from __future__ import annotations

from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from llama_index.core.schema import BaseNode

from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.table_store import NodeTableSource

_CONNECTING: WeakKeyDictionary[type, Lock] = WeakKeyDictionary()
"""A lock for every store, by the class that each makes for its own table: a store itself is no key."""

_CONNECTING_LOCK = Lock()


def open_postgres(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of a PGVectorStore.

    The vectors are searched as in the store's mode ``default``, also where it is made for hybrid search.
    ``hnsw_ef_search`` of its ``hnsw_kwargs`` and its ``customize_query_fn`` are kept.

    Args:
        store: the store; its table may be created later.
        request: what to search in it.

    Raises:
        InvalidInputError: if a filter cannot be translated.
    """
    # Whoever holds such a store has SQLAlchemy.
    from commonscale.llama_index.postgres_filters import condition_of
    from commonscale.stores.postgres import PostgresTable
    from commonscale.stores.postgres_engines import Engines
    from commonscale.stores.postgres_sql import COSINE, Layout

    def connect() -> Engines:
        _prepare(store)
        return Engines(store._engine, store._async_engine)

    customize = store._customize_query_fn
    rows = store._table_class.__table__
    condition = condition_of(filters_of(request), rows.c.metadata_)
    layout = Layout(
        rows,
        "node_id",
        "embedding",
        ("text", "metadata_"),
        [] if condition is None else [condition],
        None if customize is None else lambda statement: customize(statement, store._table_class),
    )
    ef_search = (store.hnsw_kwargs or {}).get("hnsw_ef_search")
    settings = [] if ef_search is None else [("hnsw.ef_search", str(ef_search))]
    table = PostgresTable(layout, COSINE, connect, settings=settings)

    def node(row_id: str, row: Any) -> BaseNode:
        from llama_index.vector_stores.postgres.base import DBEmbeddingRow

        custom = {key: value for key, value in row.items() if key not in _OWN}
        found = DBEmbeddingRow(row_id, row["text"], row["metadata_"], custom, 0.0)
        made: BaseNode = store._db_rows_to_query_result([found]).nodes[0]
        return made

    return NodeTableSource(store, table, request, node, concurrent=True, remote=True)


_OWN = frozenset({"node_id", "text", "metadata_", "commonscale_distance", "commonscale_vector"})
"""Columns that are not added by the user's ``customize_query_fn``."""


def _prepare(store: Any) -> None:
    """Let the store set itself up, as its own first query would, but not before its server answers.

    It takes every error while setting up for a passing one, and never tries again.
    """
    if store._is_initialized:
        return
    with _CONNECTING_LOCK:
        own = _CONNECTING.setdefault(store._table_class, Lock())
    # Only those who want this store wait while its server does not answer.
    with own:
        if store._is_initialized:
            return
        store._connect()
        with store._engine.connect():
            pass
        store._initialize()
