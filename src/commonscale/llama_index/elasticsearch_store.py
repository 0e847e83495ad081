"""LlamaIndex's ElasticsearchStore as a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.table_store import NodeTableSource
from commonscale.stores.elasticsearch import ElasticsearchTable
from commonscale.stores.search_clauses import exact


def open_elasticsearch(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of an ElasticsearchStore.

    Filters are translated here: the store's own translation knows equality only, takes every condition for "and",
    and looks for numbers in keyword fields, which do not have any.

    Args:
        store: the store; its index may be created later.
        request: what to search in it.

    Raises:
        InvalidInputError: if a filter cannot be translated.
    """
    # Whoever has the store has this module; it makes nodes as the store itself does.
    from llama_index.vector_stores.elasticsearch.utils import convert_es_hit_to_node

    filters = filters_of(request)
    restriction = [] if filters is None else [_joined(filters)]
    table = ElasticsearchTable(store.client, store.index_name, store.vector_field, restriction)

    def node(_: str, hit: Any) -> BaseNode:
        made: BaseNode = convert_es_hit_to_node(hit, store.text_field)
        return made

    return NodeTableSource(store, table, request, node, concurrent=True, remote=True)


def _joined(filters: MetadataFilters) -> dict[str, Any]:
    parts = [_joined(part) if isinstance(part, MetadataFilters) else _clause(part) for part in filters.filters]
    if filters.condition == FilterCondition.OR:
        return {"bool": {"should": parts, "minimum_should_match": 1}}
    return {"bool": {"must_not" if filters.condition == FilterCondition.NOT else "filter": parts}}


def _clause(part: MetadataFilter) -> dict[str, Any]:
    make = _CLAUSES.get(part.operator)
    if make is None:
        raise InvalidInputError(
            f"the filter operator {part.operator!r} is not known for an ElasticsearchStore; known are "
            f"{', '.join(repr(operator.value) for operator in _CLAUSES)}"
        )
    return make(f"metadata.{part.key}", part.value)


def _any(field: str, values: Any) -> dict[str, Any]:
    return {"bool": {"should": [exact(field, value) for value in _listed(values)], "minimum_should_match": 1}}


def _all(field: str, values: Any) -> dict[str, Any]:
    return {"bool": {"filter": [exact(field, value) for value in _listed(values)]}}


def _listed(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise InvalidInputError(f"a filter for several values needs a list, got {values!r}; put it into one")
    return values


def _not(make: Callable[[str, Any], dict[str, Any]]) -> Callable[[str, Any], dict[str, Any]]:
    return lambda field, value: {"bool": {"must_not": [make(field, value)]}}


def _range(name: str) -> Callable[[str, Any], dict[str, Any]]:
    return lambda field, value: {"range": {field: {name: value}}}


def _phrase(field: str, value: Any) -> dict[str, Any]:
    return {"match_phrase": {field: {"query": value}}}


def _exists(field: str, value: Any) -> dict[str, Any]:
    del value
    return {"exists": {"field": field}}


_CLAUSES: Mapping[FilterOperator, Callable[[str, Any], dict[str, Any]]] = MappingProxyType(
    {
        FilterOperator.EQ: exact,
        FilterOperator.NE: _not(exact),
        FilterOperator.GT: _range("gt"),
        FilterOperator.GTE: _range("gte"),
        FilterOperator.LT: _range("lt"),
        FilterOperator.LTE: _range("lte"),
        FilterOperator.IN: _any,
        FilterOperator.NIN: _not(_any),
        FilterOperator.ANY: _any,
        FilterOperator.ALL: _all,
        FilterOperator.CONTAINS: exact,
        FilterOperator.TEXT_MATCH: _phrase,
        FilterOperator.TEXT_MATCH_INSENSITIVE: _phrase,
        FilterOperator.IS_EMPTY: _not(_exists),
    }
)
"""Clauses by operator. Texts are cut into words without regard to case, so both ways to match them are the same."""
