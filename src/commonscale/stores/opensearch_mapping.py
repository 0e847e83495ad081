"""What the mapping of an OpenSearch index says of its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.stores.search_api import VectorField
from commonscale.stores.search_clauses import maximum_inner_product, plus_one

_KINDS: Mapping[str, str | Converter] = MappingProxyType(
    {
        "l2": "inverse_one_plus_squared_l2",
        "cosinesimil": "half_one_plus_cosine",
        "innerproduct": maximum_inner_product,
    }
)

_FILTERING = ("lucene", "faiss")
"""Engines that apply a filter while they search; nmslib would filter its k nearest, and starve a modality."""

_USUAL = "vector_field"
"""What LangChain calls the field unless told otherwise."""


def vector_field(reply: Mapping[str, Any], index: str, wanted: str | None, *, filtered: bool) -> VectorField:
    """Read the field of the vectors from the description of an index.

    Args:
        reply: descriptions by index, of one index or of those behind an alias.
        index: the index's name, for messages.
        wanted: the field; None for the only one there is.
        filtered: whether searches will be restricted.

    Raises:
        InvalidInputError: if there is no such field of floats, or several and none was named.
        UnknownScoreKindError: if its space has no function to the cosine.
    """
    name, mapped, settings = _chosen(reply, index, wanted)
    method = mapped.get("method") or {}
    space = method.get("space_type") or mapped.get("space_type") or settings.get("knn.space_type") or "l2"
    elements = mapped.get("data_type", "float")
    if elements == "binary" or space not in _KINDS:
        raise UnknownScoreKindError(
            f"the OpenSearch field {name!r} compares {elements} vectors by {space}, of which no cosine can be made; "
            f"use float vectors with one of: {', '.join(_KINDS)} (cosinesimil is best)"
        )
    if elements != "float":
        raise InvalidInputError(
            f"the OpenSearch field {name!r} holds {elements} vectors, which cannot be compared with a question of "
            f"floats; map it with data_type float (a compression_level or an encoder may compress it)"
        )
    if "model_id" in mapped:  # A model trained in the server, of faiss; its space is not in the mapping.
        return VectorField(name, None, mapped.get("dimension"))
    # Which engine is the default depends on the server's version, but a mode is only known to filtering ones.
    engine = method.get("engine") or ("faiss" if "mode" in mapped or "compression_level" in mapped else "")
    indexed = str(settings.get("knn", "false")).lower() == "true"
    searchable = indexed and (not filtered or engine in _FILTERING)
    return VectorField(name, _kind(space, engine, searchable), mapped.get("dimension"), searchable, space)


def _chosen(reply: Mapping[str, Any], index: str, wanted: str | None) -> tuple[str, Any, dict[str, Any]]:
    for entry in reply.values():
        found = dict(_vector_fields(entry.get("mappings", {}).get("properties", {})))
        names = [wanted] if wanted in found else ([] if wanted is not None else sorted(found))
        if len(names) > 1 and _USUAL in names:
            names = [_USUAL]
        if len(names) > 1:
            raise InvalidInputError(
                f"the OpenSearch index {index!r} has several vector fields, {names}, and the store does not say which "
                f"one it uses; call that one {_USUAL!r}, or keep the others in another index"
            )
        if names:
            return names[0], found[names[0]], _flat(entry.get("settings", {}).get("index", {}))
    raise InvalidInputError(
        f"the OpenSearch index {index!r} has no knn_vector field{f' {wanted!r}' if wanted else ''}, so no cosines; "
        f"name the field of the vectors in the store, and create the index through the store"
    )


def _kind(space: str, engine: str, searchable: bool) -> str | Converter | None:
    if space != "cosinesimil":
        return _KINDS[space]
    if not searchable:
        return plus_one
    # nmslib scores 1 / (2 - cosine) in some versions and (1 + cosine) / 2 in others.
    return _KINDS[space] if engine in _FILTERING else None


def _vector_fields(properties: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, mapped in properties.items():
        if mapped.get("type") == "knn_vector":
            found.append((prefix + name, mapped))
        found += _vector_fields(mapped.get("properties", {}), f"{prefix}{name}.")
    return found


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten settings: servers return both ``{"knn.x": 1}`` and ``{"knn": {"x": 1}}``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
