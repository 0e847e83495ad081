"""LlamaIndex's OpensearchVectorStore as a source."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import BaseNode

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.table_store import NodeTableSource
from commonscale.stores.opensearch import OpenSearchTable, Reading, same_server


def open_opensearch(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of an OpensearchVectorStore.

    Args:
        store: the store; its index may be created later.
        request: what to search in it.

    Raises:
        InvalidInputError: if the store cannot translate a filter.
    """
    inner = store.client
    reading = Reading(
        inner._index, inner._embedding_field, _restriction(inner, request), tuple(inner._excluded_source_fields or ())
    )
    client, aclient = inner._os_client, inner._os_async_client
    # A client of the user's own beside one that the store made may have other credentials.
    together = inner._owns_os_client == inner._owns_os_async_client and same_server(client, aclient)
    table = OpenSearchTable(client, reading, aclient if together else None)

    def node(_: str, hit: Any) -> BaseNode:
        # The store indexes the text by its key, though a hit may lack it where the caller excludes it.
        source = {inner._text_field: "", **hit["_source"]}
        made: BaseNode = inner._to_query_result({"hits": {"hits": [{**hit, "_source": source}]}}).nodes[0]
        return made

    # Amazon's serverless offering gives its own ids; the node's is a field there.
    node_id = (lambda row_id, hit: str(hit["_source"].get("id", row_id))) if inner.is_aoss else None
    return NodeTableSource(store, table, request, node, node_id=node_id, concurrent=True, remote=True)


def _restriction(inner: Any, request: StoreRequest) -> list[Any]:
    filters = filters_of(request)
    try:
        made: list[Any] = inner._parse_filters(filters)
    except (KeyError, ValueError) as error:
        raise InvalidInputError(
            f"an OpensearchVectorStore cannot translate the filters {filters!r}: {type(error).__name__} {error}; its "
            f"conditions are AND and OR"
        ) from error
    return made
