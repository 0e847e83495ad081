"""LangChain's Chroma as a source."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document

from commonscale.core.errors import SourceError
from commonscale.core.types import Source
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View
from commonscale.stores.chroma import ChromaTable
from commonscale.stores.chroma_records import Record, is_local, where_of


def open_chroma(store: Any, view: View) -> Source:
    """Open one modality of a Chroma store; ``filter`` is a dict in Chroma's own form.

    Documents without a text, which ``Chroma`` itself leaves out, come with an empty one.

    Raises:
        InvalidInputError: if a filter is not of Chroma's form.
        SourceError: if the store's collection was deleted.
    """
    own = view.modality_filter
    if own is None and view.modality_key is not None:
        own = {view.modality_key: view.modality}

    def collection() -> Any:
        # Asked for every time: ``reset_collection`` makes a new one.
        try:
            return store._collection
        except ValueError as error:
            raise SourceError(
                f"the collection of this {type(store).__name__} store was deleted; make a new store and a new retriever"
            ) from error

    table = ChromaTable(collection, where_of(own, view.filter))
    return table_source(store, table, view, _document, concurrent=True, remote=not is_local(collection()))


def _document(row_id: str, record: Record) -> Document:
    return Document(id=row_id, page_content=record.document or "", metadata=dict(record.metadata or {}))
