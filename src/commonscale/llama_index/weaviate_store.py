"""LlamaIndex's WeaviateVectorStore as a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.table_store import NodeTableSource
from commonscale.stores.weaviate import Reading, WeaviateTable


def open_weaviate(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of a WeaviateVectorStore.

    Args:
        store: the store, with a synchronous or an asynchronous client; with the latter only asynchronous searches and
            calibrations are possible.
        request: what to search in it.

    Raises:
        InvalidInputError: if the store cannot translate a filter.
    """
    # Whoever has the store has these.
    from llama_index.vector_stores.weaviate.base import _to_weaviate_filter
    from llama_index.vector_stores.weaviate.utils import to_node

    filters = filters_of(request)

    def restriction(types: Mapping[str, Any]) -> Any:
        # Without filters the translation gives an empty dict.
        return (filters and _to_weaviate_filter(filters, dict(types))) or None

    try:
        restriction({})
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidInputError(f"a WeaviateVectorStore cannot translate the filters {filters!r}: {error}") from error
    label = request.modality_key if request.mixed else None
    keys = frozenset(_keys(filters)) if filters is not None else frozenset[str]()
    table = WeaviateTable(store._client, Reading(store.index_name, restriction, label, keys), store._aclient)

    def node(_: str, found: Any) -> BaseNode:
        entry = {"metadata": found.metadata, "properties": dict(found.properties), "vector": {}, "uuid": found.uuid}
        made: BaseNode = to_node(entry, store.text_key)
        return made

    return NodeTableSource(store, table, request, node, concurrent=True, remote=True)


def _keys(filters: MetadataFilters) -> Iterator[str]:
    for part in filters.filters:
        if isinstance(part, MetadataFilters):
            yield from _keys(part)
        else:
            yield part.key
