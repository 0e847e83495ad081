"""What a Milvus collection says of itself, as far as a search depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from commonscale.core.errors import InvalidInputError, UnknownScoreKindError

KINDS = {"COSINE": "cosine", "IP": "inner_product", "L2": "squared_l2"}

_EXACT = frozenset({"FLAT", "IVF_FLAT", "HNSW"})
"""Indexes that compute with the stored vectors themselves; what AUTOINDEX is, only the server knows."""

_FLOATS = "FLOAT_VECTOR"

Condition = str | Callable[[Mapping[str, bool]], str]
"""A boolean expression, or what writes one given the collection's own fields and whether each may be null."""


class Settings(NamedTuple):
    """Settings of one vector field.

    Attributes:
        metric: what its index compares by.
        dimension: length of the vectors.
        exact: whether the index computes with vectors as they are.
        primary: the field of ids.
        primary_type: its type, ``"INT64"`` or ``"VARCHAR"``.
        fields: what is read beside a vector.
        condition: which rows may be found.
        described: all that Milvus says of the collection itself, without its index.
    """

    metric: str
    dimension: int
    exact: bool
    primary: str
    primary_type: str
    fields: list[str]
    condition: str
    described: Mapping[str, Any]


def read_settings(client: Any, collection: str, vector_field: str, condition: Condition) -> Settings:
    """Read what a search needs to know of a collection.

    Raises:
        InvalidInputError: if the field holds no dense vectors of floats, or has no index.
        UnknownScoreKindError: if its index compares by something of which no cosine can be made.
    """
    info = client.describe_collection(collection)
    fields = {field["name"]: field for field in info["fields"]}
    field = fields.get(vector_field)
    kinds = {name: getattr(one["type"], "name", str(one["type"])) for name, one in fields.items()}
    if field is None or kinds[vector_field] != _FLOATS:
        held = "no such field" if field is None else kinds[vector_field]
        dense = [name for name, kind in kinds.items() if kind == _FLOATS]
        raise InvalidInputError(
            f"the Milvus collection {collection!r} must have a field {vector_field!r} of type {_FLOATS}"
            f", but has {held}; fields of that type: {', '.join(dense) or 'none'}. Name one of them in the store"
        )
    metric, index = _index(client, collection, vector_field)
    others = [name for name, kind in kinds.items() if "VECTOR" not in kind]
    own = {name: bool(fields[name].get("nullable")) for name in others}
    primary = next(name for name, one in fields.items() if one.get("is_primary"))
    return Settings(
        metric,
        int(field["params"]["dim"]),
        index in _EXACT,
        primary,
        kinds[primary],
        [*others, "$meta"] if info.get("enable_dynamic_field") else others,
        condition if isinstance(condition, str) else condition(own),
        info,
    )


def _index(client: Any, collection: str, vector_field: str) -> tuple[str, str]:
    """Give metric and type of the vectors' index."""
    names = client.list_indexes(collection, field_name=vector_field)
    if not names:
        raise InvalidInputError(
            f"the field {vector_field!r} of the Milvus collection {collection!r} has no index, so it "
            f"cannot be searched; create one with the metric COSINE (client.create_index)"
        )
    index = client.describe_index(collection, names[0])
    metric = str(index["metric_type"]).upper()
    if metric not in KINDS:
        raise UnknownScoreKindError(
            f"the Milvus collection {collection!r} compares by {metric}, of which no cosine can be made; "
            f"create its index with one of: {', '.join(KINDS)} (COSINE is best)"
        )
    return metric, str(index["index_type"])
