"""Which objects a filter of Weaviate selects."""

from __future__ import annotations

import operator
import re
from typing import Any

_ORDER = {
    "OPERATOR_GREATER_THAN": operator.gt,
    "OPERATOR_GREATER_THAN_EQUAL": operator.ge,
    "OPERATOR_LESS_THAN": operator.lt,
    "OPERATOR_LESS_THAN_EQUAL": operator.le,
}
_VALUES = {"value_text": "text", "value_int": "int", "value_boolean": "boolean", "value_number": "number"}


class Refused(Exception):  # noqa: N818 - a reply, not an error of the fake
    """The server refuses a request."""


def selects(filters: Any, object_id: str, stored: Any, schema: dict[str, Any]) -> bool:
    """Tell whether a filter selects an object."""
    from weaviate.proto.v1 import base_pb2

    name = base_pb2.Filters.Operator.Name(filters.operator)
    if name in ("OPERATOR_AND", "OPERATOR_OR"):
        parts = [selects(part, object_id, stored, schema) for part in filters.filters]
        return all(parts) if name == "OPERATOR_AND" else any(parts)
    field = filters.target.property
    if field == "_id":
        return object_id in filters.value_text_array.values
    kind = _kind(field, schema)
    values = _listed(stored.properties.get(field))
    if name == "OPERATOR_IS_NULL":
        return (not values) == filters.value_boolean
    return _compared(name, field, kind, values, filters)


def _kind(field: str, schema: dict[str, Any]) -> str:
    for prop in schema["properties"]:
        if prop["name"] == field:
            return str(prop["dataType"][0]).removesuffix("[]")
    raise Refused(f"no such prop with name '{field}' found in class '{schema['class']}' in the schema")


def _compared(name: str, field: str, kind: str, values: list[Any], filters: Any) -> bool:
    given = filters.WhichOneof("test_value")
    single, many = given.removesuffix("_array"), given.endswith("_array")
    if _VALUES[single] != kind:
        raise Refused(
            f'data type filter cannot use "{_VALUES[single]}" on type "{kind}" of property {field!r}, use {kind!r}'
        )
    wanted = list(getattr(filters, given).values) if many else [getattr(filters, given)]
    equal = [_matches(values, one) for one in wanted]
    if name == "OPERATOR_NOT_EQUAL":
        return not equal[0]
    if name in ("OPERATOR_EQUAL", "OPERATOR_CONTAINS_ANY"):
        return any(equal)
    if name == "OPERATOR_CONTAINS_ALL":
        return all(equal)
    if name in _ORDER:
        return any(_ORDER[name](value, wanted[0]) for value in values)
    raise Refused(f"this fake does not know the operator {name}")


def _matches(values: list[Any], wanted: Any) -> bool:
    if not isinstance(wanted, str):
        return wanted in values
    # A text is cut into words; it is equal to what has all the words of the question.
    words = set(re.findall(r"\w+", wanted.lower()))
    return any(words <= set(re.findall(r"\w+", str(value).lower())) for value in values)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
