"""LlamaIndex's MilvusVectorStore as a source."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.conditions import written
from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.table_store import NodeTableSource
from commonscale.stores.milvus import MilvusTable, text_literal
from commonscale.stores.milvus_clients import is_local


def open_milvus(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of a MilvusVectorStore.

    Client, dense field and ``search_config`` are the store's; the asynchronous client is used if it has one
    (``use_async_client=True``, its default).

    Args:
        store: the store.
        request: what to search in it.

    Raises:
        InvalidInputError: if the store keeps sparse vectors only, or a filter has an operator that Milvus does not
            have.
    """
    if not store.enable_dense:
        raise InvalidInputError(
            "this MilvusVectorStore keeps sparse vectors only (enable_dense=False), so there are no cosines; make it "
            "with enable_dense=True and dim="
        )
    filters = filters_of(request)

    def condition(own: Mapping[str, bool]) -> str:
        return written(filters, partial(_condition, own)) or ""

    # Filters that Milvus does not have are refused at once, whether there is a collection or not.
    condition({})
    table = MilvusTable(
        store.client,
        store.collection_name,
        store.embedding_field,
        condition,
        aclient=store.aclient,
        search_params=store.search_config,
    )

    def node(row_id: str, row: dict[str, Any]) -> BaseNode:
        made: BaseNode = store._parse_from_milvus_results([[{"id": row_id, "distance": 0.0, "entity": row}]])[0][0]
        # Of rows that LlamaIndex did not write the store makes nodes with random ids.
        return made if made.node_id == row_id else made.model_copy(update={"id_": row_id})

    return NodeTableSource(store, table, request, node, concurrent=True, remote=not is_local(store.client))


def _condition(own: Mapping[str, bool], one: MetadataFilter) -> str:
    """Write one filter as the store does, with texts escaped, so that it holds or does not for rows without the key.

    Milvus knows neither that a condition holds for them nor that it does not; LlamaIndex means that only "is not" and
    "not in" hold.

    Args:
        own: the collection's own fields, and whether each may be null; other keys may be missing anywhere.
        one: the filter.
    """
    from llama_index.vector_stores.milvus.base import _to_milvus_filter

    if isinstance(one.value, str) and one.operator != FilterOperator.TEXT_MATCH:
        # The store escapes quotes, but not the backslashes that escape them.
        escaped = text_literal(one.value)[1:-1].replace('\\"', '"')
        one = MetadataFilter(key=one.key, value=escaped, operator=one.operator)
    try:
        part = str(_to_milvus_filter(MetadataFilters(filters=[one])))
    except ValueError as error:
        raise InvalidInputError(f"Milvus cannot filter by {one!r}: {error}") from error
    if one.operator == FilterOperator.IS_EMPTY or own.get(one.key) is False:
        return part
    present = f"{one.key} is not null" if one.key in own else f"exists {one.key}"
    if one.operator in (FilterOperator.NE, FilterOperator.NIN):
        return f"(not ({present})) or ({part})"
    return f"({present}) and ({part})"
