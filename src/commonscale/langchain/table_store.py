"""A database's table as LangChain documents."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.documents import Document

from commonscale.langchain.view import View
from commonscale.stores.labels import LabelWatch
from commonscale.stores.table import Table, TableSource


def table_source(
    store: Any,
    table: Table,
    view: View,
    document: Callable[[str, Any], Document],
    *,
    concurrent: bool = False,
    remote: bool = False,
) -> TableSource:
    """Make a source of a table; documents are made from its payloads for the hits that are kept.

    Args:
        store: the LangChain store, for messages.
        table: its table, restricted as the view says.
        view: which documents, and how they are named.
        document: makes a document from the table's id and payload.
        concurrent: whether helping threads may search it.
        remote: whether the database is another process.
    """

    def read(row_id: str, payload: Any) -> tuple[str, Any]:
        if view.id_key is None and row_id:
            return row_id, partial(document, row_id, payload)
        made = document(row_id, payload)
        return view.id_of(made, row_id or None), made

    watch = LabelWatch(
        type(store).__name__,
        view.modality_key or "",
        view.modality,
        mixed=view.modality_key is not None and view.modality_filter is None,
        filtered=view.filter is not None,
    )
    return TableSource(
        table,
        view.modality,
        read,
        score_kind=view.score_kind,
        concurrent=concurrent,
        remote=remote,
        after=watch,
        store_name=type(store).__name__,
        own_ids=view.id_key is None,
    )
