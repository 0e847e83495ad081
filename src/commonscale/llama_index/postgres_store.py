"""LlamaIndex's PGVectorStore as a source."""

from __future__ import annotations

from threading import Lock
from typing import Any

from llama_index.core.schema import BaseNode

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.restriction import label_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.table_store import NodeTableSource

_CONNECTING = Lock()


def open_postgres(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of a PGVectorStore.

    The vectors are searched as in the store's mode ``default``, also where it is made for hybrid search.
    ``hnsw_ef_search`` of its ``hnsw_kwargs`` and its ``customize_query_fn`` are kept.

    Args:
        store: the store; its table may be created later.
        request: what to search in it.

    Raises:
        InvalidInputError: if the store cannot translate a filter.
    """
    # Whoever holds such a store has SQLAlchemy.
    from commonscale.stores.postgres import PostgresTable
    from commonscale.stores.postgres_engines import Engines
    from commonscale.stores.postgres_sql import COSINE, Layout

    def connect() -> Engines:
        _prepare(store)
        return Engines(store._engine, store._async_engine)

    customize = store._customize_query_fn
    rows = store._table_class.__table__
    layout = Layout(
        rows,
        "node_id",
        "embedding",
        ("text", "metadata_"),
        _conditions(store, rows, request),
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


def _conditions(store: Any, rows: Any, request: StoreRequest) -> list[Any]:
    conditions = []
    if request.filters is not None and request.filters.filters:
        try:
            conditions.append(store._recursively_apply_filters(request.filters))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"PGVectorStore cannot filter by {request.filters!r}: {error}") from error
    if request.mixed:
        # Not by the store's own translation, which writes values into the SQL: a label may hold a quote or a colon.
        conditions.append(rows.c.metadata_[request.modality_key].astext == label_of(request))
    return conditions


def _prepare(store: Any) -> None:
    """Let the store set itself up, as its own first query would, but not before its server answers.

    It takes every error while setting up for a passing one, and never tries again.
    """
    if store._is_initialized:
        return
    with _CONNECTING:
        if store._is_initialized:
            return
        store._connect()
        with store._engine.connect():
            pass
        store._initialize()
