"""LlamaIndex's LanceDBVectorStore as a source."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.conditions import written
from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stored_nodes import readable
from commonscale.llama_index.table_store import NodeTableSource
from commonscale.stores.lancedb import LanceTable, Row, column, literal, within


def open_lancedb(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of a LanceDBVectorStore; its table may be created later.

    The vector column, ``nprobes`` and ``refine_factor`` are the store's; a search is always one by vector, whatever
    its ``query_type`` and reranker are.

    Args:
        store: the store.
        request: what to search in it.

    Raises:
        InvalidInputError: if a filter has an operator that LanceDB does not have.
    """
    table = LanceTable(
        # Not ``store.table``, which raises while there is none.
        lambda: store._table,
        store.vector_column_name,
        "id",
        written(filters_of(request), _condition, _negated),
        nprobes=store.nprobes,
        refine_factor=store.refine_factor,
        name=store._table_name,
    )

    def node(row_id: str, row: Row) -> BaseNode:
        metadata = row.value("metadata") or {}
        if metadata.get("_node_content"):
            return metadata_dict_to_node(dict(readable(metadata)))
        return _plain_node(row_id, row.value(store.text_key), metadata, row.value(store.doc_id_key))

    # The client of LanceDB Cloud is a class of its own.
    remote = "Remote" in type(store.client).__name__
    return NodeTableSource(store, table, request, node, concurrent=True, remote=remote)


def _plain_node(row_id: str, text: str | None, metadata: dict[str, Any], document: str | None) -> TextNode:
    """Make the node of a row that LlamaIndex did not write; missing metadata are null in LanceDB's structs."""
    known = {key: value for key, value in metadata.items() if value is not None}
    node = TextNode(id_=row_id, text=text or "", metadata=known)
    if document is not None:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=document)
    return node


def _negated(part: str) -> str:
    # Of a missing value SQL knows neither that a condition holds nor that it does not.
    return f"not coalesce({part}, false)"


def _condition(one: MetadataFilter) -> str:
    """Write one filter, with what the store has operators for and without the mistakes of its own translation.

    It writes quotes in texts as they are, so that the condition ends there, "is not" as "does not contain", and for
    several values where one belongs no SQL.
    """
    from llama_index.vector_stores.lancedb.util import sql_operator_mapper

    operator, value = one.operator, one.value
    if operator not in sql_operator_mapper:
        raise InvalidInputError(
            f"LanceDB cannot filter by {operator.name} ({one!r}); it has: "
            f"{', '.join(operator.name for operator in sql_operator_mapper)}"
        )
    key = column("metadata", one.key)
    if isinstance(value, list) and operator == FilterOperator.IN:
        return within(key, value)
    if isinstance(value, list) or operator == FilterOperator.IN:
        needed = "a list of values" if operator == FilterOperator.IN else f"one value; several: {FilterOperator.IN!r}"
        raise InvalidInputError(f"the filter {one!r} needs {needed}, got {value!r}")
    if operator == FilterOperator.NE:
        return f"{key} IS NULL OR {key} != {literal(value)}"
    if operator == FilterOperator.TEXT_MATCH:
        return f"{key} LIKE {literal(f'%{value}%')}"
    return f"{key}{sql_operator_mapper[operator]}{literal(value)}"
