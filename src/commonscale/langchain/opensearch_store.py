"""LangChain's OpenSearchVectorSearch as a source."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document

from commonscale.core.types import Source
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View
from commonscale.stores.opensearch import OpenSearchTable, Reading, same_server
from commonscale.stores.search_clauses import clauses, exact

_TEXT, _METADATA = "text", "metadata"
"""Where the store puts text and metadata, unless a call says otherwise; it does not remember such calls."""


def open_opensearch(store: Any, view: View) -> Source:
    """Open one modality of an OpenSearchVectorSearch.

    ``filter`` is a clause of OpenSearch's query language, or a list of them. The field of the vectors is the only one
    of its type in the index, whatever it is called, or ``vector_field``; text is expected under ``text``, metadata
    under ``metadata``.

    Raises:
        InvalidInputError: if a filter is none of OpenSearch's.
    """
    own = clauses(view.modality_filter, "an OpenSearchVectorSearch")
    if not own and view.modality_key is not None:
        own = [exact(f"{_METADATA}.{view.modality_key}", view.modality)]
    restriction = [*own, *clauses(view.filter, "an OpenSearchVectorSearch")]
    reading = Reading(store.index_name, None, restriction, routing=store.routing)
    together = same_server(store.client, store.async_client)
    table = OpenSearchTable(store.client, reading, store.async_client if together else None)

    def document(row_id: str, hit: Any) -> Document:
        source = hit["_source"]
        # Amazon's serverless offering gives its own ids; the document's is a field there.
        own_id = str(source.get("id", row_id)) if store.is_aoss else row_id
        return Document(id=own_id, page_content=source.get(_TEXT) or "", metadata=source.get(_METADATA) or {})

    return table_source(store, table, view, document, concurrent=True, remote=True)
