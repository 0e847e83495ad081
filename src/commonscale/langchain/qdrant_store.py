"""LangChain's QdrantVectorStore as a source."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Source
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View
from commonscale.stores.qdrant import QdrantTable
from commonscale.stores.qdrant_keys import key_path
from commonscale.stores.qdrant_settings import is_local


def open_qdrant(store: Any, view: View) -> Source:
    """Open one modality of a QdrantVectorStore; ``filter`` is a ``qdrant_client.models.Filter``.

    Raises:
        InvalidInputError: if the store keeps sparse vectors only, or a filter is none of Qdrant's.
    """
    if getattr(store.retrieval_mode, "value", store.retrieval_mode) == "sparse":
        raise InvalidInputError(
            "this QdrantVectorStore is in sparse mode: it has no dense vectors, so no cosines; open the collection "
            "with retrieval_mode=RetrievalMode.DENSE"
        )
    table = QdrantTable(store.client, store.collection_name, lambda: store.vector_name, _restriction(store, view))

    def document(row_id: str, point: Any) -> Document:
        made: Document = store._document_from_point(
            point, store.collection_name, store.content_payload_key, store.metadata_payload_key
        )
        made.id = row_id
        return made

    remote = not is_local(store.client)
    return table_source(store, table, view, document, concurrent=remote, remote=remote)


def _restriction(store: Any, view: View) -> Any:
    from qdrant_client import models

    own = view.modality_filter
    if own is None and view.modality_key is not None:
        key = key_path(store.metadata_payload_key, view.modality_key)
        own = models.FieldCondition(key=key, match=models.MatchValue(value=view.modality))
    conditions = [condition for condition in (own, view.filter) if condition is not None]
    for condition in conditions:
        if not isinstance(condition, (models.Filter, models.FieldCondition)):
            raise InvalidInputError(
                f"a filter of a QdrantVectorStore must be a qdrant_client.models.Filter, got {condition!r}"
            )
    return models.Filter(must=conditions) if conditions else None
