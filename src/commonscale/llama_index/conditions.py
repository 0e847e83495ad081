"""Metadata filters as one line of a database's own language."""

from __future__ import annotations

from collections.abc import Callable

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from commonscale.core.errors import InvalidInputError


def _negated(part: str) -> str:
    return f"not {part}"


def pruned(filters: MetadataFilters | None) -> MetadataFilters | None:
    """Leave out groups without any filter, which stores take for "everything", for "nothing" or for an error.

    Args:
        filters: what must hold; it is not changed.

    Returns:
        The same without groups that demand nothing; None if nothing is left.
    """
    if filters is None:
        return None
    parts = [pruned(one) if isinstance(one, MetadataFilters) else one for one in filters.filters]
    kept = [one for one in parts if one is not None]
    return MetadataFilters(filters=kept, condition=filters.condition) if kept else None


def written(
    filters: MetadataFilters | None,
    write: Callable[[MetadataFilter], str],
    negate: Callable[[str], str] = _negated,
) -> str | None:
    """Write filters, nested ones and ``NOT`` too, for databases whose LlamaIndex store writes flat ones only.

    ``NOT`` means that none of its filters holds, as in LlamaIndex's own in-memory store: a node without the key, of
    which ``==`` does not hold, passes.

    Args:
        filters: what must hold; it is not changed.
        write: writes one filter on one key, where ``!=`` must hold for nodes without the key.
        negate: writes that a condition in parentheses does not hold; by default for databases where every condition
            either holds or does not.

    Returns:
        The condition, with every part in parentheses; None if there is nothing to hold.

    Raises:
        InvalidInputError: if a filter compares with no value.
    """
    if filters is None:
        return None
    parts: list[str] = []
    for one in filters.filters:
        part = written(one, write, negate) if isinstance(one, MetadataFilters) else _written(one, write)
        if part is not None:
            parts.append(f"({part})")
    if not parts:
        return None
    if filters.condition == FilterCondition.NOT:
        return " and ".join(negate(part) for part in parts)
    return (" or " if filters.condition == FilterCondition.OR else " and ").join(parts)


def _written(one: MetadataFilter, write: Callable[[MetadataFilter], str]) -> str:
    if one.value is None and one.operator.value != "is_empty":
        raise InvalidInputError(
            f"the filter {one!r} compares with None, which the database would pass over; give a value to compare with, "
            f"or use FilterOperator.IS_EMPTY where the store has it"
        )
    return write(one)
