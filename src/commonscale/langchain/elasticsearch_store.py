"""LangChain's ElasticsearchStore as a source."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document

from commonscale.core.types import Source
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View
from commonscale.stores.elasticsearch import ElasticsearchTable
from commonscale.stores.search_clauses import clauses, exact


def open_elasticsearch(store: Any, view: View) -> Source:
    """Open one modality of an ElasticsearchStore or AsyncElasticsearchStore.

    ``filter`` is a clause of Elasticsearch's query language, or a list of them.

    Raises:
        InvalidInputError: if a filter is none of Elasticsearch's.
    """
    own = clauses(view.modality_filter, "an ElasticsearchStore")
    if not own and view.modality_key is not None:
        own = [exact(f"metadata.{view.modality_key}", view.modality)]
    restriction = [*own, *clauses(view.filter, "an ElasticsearchStore")]
    table = ElasticsearchTable(store.client, store._store.index, store.vector_query_field, restriction)

    def document(row_id: str, hit: Any) -> Document:
        source = hit["_source"]
        return Document(
            id=row_id, page_content=source.get(store.query_field) or "", metadata=source.get("metadata") or {}
        )

    return table_source(store, table, view, document, concurrent=True, remote=True)
