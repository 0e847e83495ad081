"""Metadata filters as one line of a database's own language."""

from __future__ import annotations

from collections.abc import Callable

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from commonscale.core.errors import InvalidInputError


def written(filters: MetadataFilters | None, write: Callable[[MetadataFilter], str]) -> str | None:
    """Write filters, nested ones and ``NOT`` too, for databases whose LlamaIndex store writes flat ones only.

    ``NOT`` means that none of its filters holds, as in LlamaIndex's own in-memory store.

    Args:
        filters: what must hold; it is not changed.
        write: writes one filter on one key.

    Returns:
        The condition, with every part in parentheses; None if there is nothing to hold.

    Raises:
        InvalidInputError: if a filter compares with no value.
    """
    if filters is None:
        return None
    parts: list[str] = []
    for one in filters.filters:
        part = written(one, write) if isinstance(one, MetadataFilters) else _written(one, write)
        if part is not None:
            parts.append(f"({part})")
    if not parts:
        return None
    if filters.condition == FilterCondition.NOT:
        return " and ".join(f"not {part}" for part in parts)
    return (" or " if filters.condition == FilterCondition.OR else " and ").join(parts)


def _written(one: MetadataFilter, write: Callable[[MetadataFilter], str]) -> str:
    if one.value is None and one.operator.value != "is_empty":
        raise InvalidInputError(
            f"the filter {one!r} compares with None, which the database would pass over; give a value to compare with, "
            f"or use FilterOperator.IS_EMPTY where the store has it"
        )
    return write(one)
