"""LlamaIndex's QdrantVectorStore as a source."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stored_nodes import readable
from commonscale.llama_index.table_store import NodeTableSource
from commonscale.stores.qdrant import QdrantTable
from commonscale.stores.qdrant_keys import key_path
from commonscale.stores.qdrant_settings import is_local


def open_qdrant(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of a QdrantVectorStore.

    Args:
        store: the store; its collection may be created later.
        request: what to search in it.

    Raises:
        InvalidInputError: if the store has only an asynchronous client, or cannot translate a filter.
    """
    table = QdrantTable(
        store._client,
        store.collection_name,
        lambda: store.dense_vector_name,
        _restriction(store, request),
        store._aclient,
    )

    def node(_: str, point: Any) -> BaseNode:
        whole = point.model_copy(update={"payload": readable(point.payload)})
        made: BaseNode = store.parse_to_query_result([whole]).nodes[0]
        return made

    remote = not is_local(store._client)
    return NodeTableSource(store, table, request, node, concurrent=remote, remote=remote)


def _restriction(store: Any, request: StoreRequest) -> Any:
    filters = filters_of(request, key_path)
    if filters is None:
        return None
    try:
        return store._build_query_filter(VectorStoreQuery(filters=filters))
    except (NotImplementedError, ValueError) as error:
        raise InvalidInputError(f"a QdrantVectorStore cannot filter by {filters!r}: {error}") from error
