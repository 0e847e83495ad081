"""LangChain's LanceDB store as a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Source
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View
from commonscale.stores.lancedb import LanceTable, Row, column, literal, within


def open_lancedb(store: Any, view: View) -> Source:
    """Open one modality of a LanceDB store; its table may be created later.

    ``filter`` is an SQL condition (``"metadata.year > 2000"``) or a mapping from columns to values
    (``{"metadata.topic": "art"}``; a list stands for any of its values), and holds before the search, not after it as
    the store's own would. The store's ``distance`` is not used: it changes only what the store calls relevance, not its
    search.

    Raises:
        InvalidInputError: if a filter is neither.
    """

    def opened() -> Any:
        # The store writes through handles of its own, which one that was opened before does not see.
        table = store.get_table()
        return store._table if table is None else table

    def document(row_id: str, row: Row) -> Document:
        made: Document = store.results_to_docs(row.table())[0]
        made.id = row_id
        return made

    table = LanceTable(opened, store._vector_key, store._id_key, _where(view), name=store._table_name)
    remote = "Remote" in type(store._connection).__name__
    return table_source(store, table, view, document, concurrent=True, remote=remote)


def _where(view: View) -> str | None:
    own = view.modality_filter
    if own is None and view.modality_key is not None:
        own = {column("metadata", view.modality_key): view.modality}
    return " AND ".join(f"({_sql(part)})" for part in (own, view.filter) if part) or None


def _sql(condition: Any) -> str:
    if isinstance(condition, str):
        return condition
    if isinstance(condition, Mapping):
        # The store itself puts numbers into quotes too, which LanceDB refuses.
        return " AND ".join(_equals(key, value) for key, value in condition.items())
    raise InvalidInputError(
        f"a filter of a LanceDB store must be an SQL condition such as \"metadata.topic = 'art'\" or a mapping such as "
        f"{{'metadata.topic': 'art'}}, got {condition!r}"
    )


def _equals(key: str, value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"({within(key, value)})"
    return f"{key} = {literal(value)}"
