"""LlamaIndex's metadata filters as conditions of PostgreSQL, with every key and value bound, never written into SQL.

``PGVectorStore``'s own translation writes them into the statement as they come: a quote ends the string, a colon
begins a parameter, and what a user typed can widen a search to rows that the filter should keep out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import ge, gt, le, lt
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from sqlalchemy.dialects.postgresql import JSONB

from commonscale.core.errors import InvalidInputError


def condition_of(filters: MetadataFilters | None, metadata: Any) -> Any | None:
    """Translate filters, nested ones too.

    A document without the key (or with null) passes ``NE`` and ``NIN`` and no other operator but ``IS_EMPTY``; a
    ``NOT`` group passes where none of its filters does, as in LlamaIndex's ``SimpleVectorStore``. A group without
    filters restricts nothing, and counts for nothing in the group around it.

    Args:
        filters: what must hold.
        metadata: the column of the documents' metadata, JSON or JSONB.

    Returns:
        A condition of SQLAlchemy; None if nothing has to hold.

    Raises:
        InvalidInputError: if an operator, a condition or a value is none that can be translated.
    """
    if filters is None:
        return None
    parts = []
    for one in filters.filters:
        part = condition_of(one, metadata) if isinstance(one, MetadataFilters) else _holds(one, metadata)
        if part is not None:
            parts.append(part)
    if not parts:
        return None
    if filters.condition in (None, FilterCondition.AND):
        return sa.and_(*parts)
    if filters.condition == FilterCondition.OR:
        return sa.or_(*parts)
    if filters.condition == FilterCondition.NOT:
        return _fails(sa.or_(*parts))
    raise InvalidInputError(
        f"PGVectorStore is not searched with filters joined by {filters.condition!r}; join them by one of "
        f"{', '.join(map(str, FilterCondition))}"
    )


def _holds(one: MetadataFilter, metadata: Any) -> Any:
    if (make := _OPERATORS.get(one.operator)) is None:
        raise InvalidInputError(
            f"PGVectorStore is not searched with the operator {one.operator!r} (filter {one!r}); known are "
            f"{', '.join(map(str, _OPERATORS))}"
        )
    return make(_Key(one, metadata), one)


def _fails(condition: Any) -> Any:
    # Of a missing key every comparison is null, and so is the opposite of null.
    return sa.not_(sa.func.coalesce(condition, sa.false()))


class _Key:
    """What documents hold under a filter's key.

    Attributes:
        text: as text; null where it is missing or null.
        element: as JSONB.
    """

    def __init__(self, one: MetadataFilter, metadata: Any) -> None:
        found = metadata[_text(one, one.key)]
        self.text = found.astext
        self.element = sa.cast(found, JSONB)

    def by_type(self, **cases: Any) -> Any:
        """Give the case of the stored value's type, or ``otherwise``; only that one is computed."""
        otherwise = cases.pop("otherwise", sa.null())
        return sa.case(cases, value=sa.func.jsonb_typeof(self.element), else_=otherwise)

    @property
    def number(self) -> Any:
        """As a number of any size; fails of what is none, so only within ``by_type(number=...)``."""
        return sa.cast(self.text, sa.Numeric)


def _equal(key: _Key, one: MetadataFilter, value: Any) -> Any:
    same = key.text == _text(one, value)
    if isinstance(value, str):
        return same
    return key.by_type(number=key.number == _number(one, value), otherwise=same)


def _eq(key: _Key, one: MetadataFilter) -> Any:
    return _equal(key, one, _scalar(one))


def _in(key: _Key, one: MetadataFilter) -> Any:
    return sa.or_(sa.false(), *(_equal(key, one, value) for value in _several(one)))


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[_Key, MetadataFilter], Any]:
    def make(key: _Key, one: MetadataFilter) -> Any:
        value = _scalar(one)
        if isinstance(value, str):
            return key.by_type(string=compare(key.text, _text(one, value)))
        return key.by_type(number=compare(key.number, _number(one, value)))

    return make


def _member(key: _Key, one: MetadataFilter, value: Any) -> Any:
    named = key.element.has_key(_text(one, value))
    if isinstance(value, str):
        return named
    _number(one, value)
    return sa.or_(named, key.element.contains([value]))


def _any(key: _Key, one: MetadataFilter) -> Any:
    return sa.or_(sa.false(), *(_member(key, one, value) for value in _several(one)))


def _all(key: _Key, one: MetadataFilter) -> Any:
    return sa.and_(key.text.is_not(None), *(_member(key, one, value) for value in _several(one)))


def _empty(key: _Key, _: MetadataFilter) -> Any:
    return sa.or_(key.text.is_(None), key.text == "", key.element == sa.literal([], JSONB))


_OPERATORS: Mapping[FilterOperator, Callable[[_Key, MetadataFilter], Any]] = MappingProxyType(
    {
        FilterOperator.EQ: _eq,
        FilterOperator.NE: lambda key, one: _fails(_eq(key, one)),
        FilterOperator.GT: _ordered(gt),
        FilterOperator.GTE: _ordered(ge),
        FilterOperator.LT: _ordered(lt),
        FilterOperator.LTE: _ordered(le),
        FilterOperator.IN: _in,
        FilterOperator.NIN: lambda key, one: _fails(_in(key, one)),
        FilterOperator.ANY: _any,
        FilterOperator.ALL: _all,
        FilterOperator.CONTAINS: lambda key, one: _member(key, one, _scalar(one)),
        FilterOperator.TEXT_MATCH: lambda key, one: key.text.contains(_text(one, _scalar(one)), autoescape=True),
        FilterOperator.TEXT_MATCH_INSENSITIVE: lambda key, one: key.text.icontains(
            _text(one, _scalar(one)), autoescape=True
        ),
        FilterOperator.IS_EMPTY: _empty,
    }
)


def _scalar(one: MetadataFilter) -> Any:
    if one.value is None or isinstance(one.value, list):
        raise InvalidInputError(
            f"the filter {one!r} needs one string or number to compare with, got {one.value!r}; use "
            f"FilterOperator.IN for several, IS_EMPTY for documents without a value"
        )
    return one.value


def _several(one: MetadataFilter) -> list[Any]:
    if not isinstance(one.value, list):
        raise InvalidInputError(f"the filter {one!r} needs a list of strings or numbers, got {one.value!r}")
    return list(one.value)


def _number(one: MetadataFilter, value: Any) -> Any:
    if not math.isfinite(value):
        raise InvalidInputError(f"the filter {one!r} compares with {value!r}; give a finite number")
    # By the digits, as JSON keeps them: 0.1 is equal to a stored 0.1, and large integers to nothing but themselves.
    return sa.literal(Decimal(repr(value)), sa.Numeric)


def _text(one: MetadataFilter, value: Any) -> str:
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"the filter {one!r} holds {text!r}, which is no text: {error}") from error
    if "\0" in text:
        raise InvalidInputError(f"the filter {one!r} holds a null character, which no text in PostgreSQL can hold")
    return text
