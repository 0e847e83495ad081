"""All objects of a Weaviate collection, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from commonscale.stores.table import Found

_MOST = 1000
"""Objects on one page."""


def read_pages(collection: Any, name: str | None, restriction: Any, size: int, with_payloads: bool) -> Iterator[Found]:
    """Read all objects that have the vector and pass a filter, by the cursor over ids.

    Weaviate's cursor takes no filter. So where there is one, the cursor only brings ids, and those that pass are asked
    for among them.

    Args:
        collection: a ``weaviate.collections.Collection``.
        name: the vector; None for the one without a name.
        restriction: a ``weaviate.classes.query.Filter``, or None.
        size: most objects of a page.
        with_payloads: whether properties are needed too.
    """
    from weaviate.classes.query import Filter

    last: Any = None
    shown = _shown(name, with_payloads)
    while True:
        limit = min(size, _MOST)
        beginning = {"limit": limit} if last is None else {"limit": limit, "after": last}
        asked = shown if restriction is None else {"return_properties": []}
        objects = collection.query.fetch_objects(**beginning, **asked).objects
        if not objects:
            return
        last = objects[-1].uuid
        if restriction is not None:
            among = Filter.by_id().contains_any([one.uuid for one in objects])
            wanted = Filter.all_of([restriction, among])
            objects = collection.query.fetch_objects(filters=wanted, limit=len(objects), **shown).objects
        yield found_of(objects, name)


def read_by_id(collection: Any, name: str | None, ids: Sequence[str]) -> Found:
    """Read the objects with these ids, as far as they are there and have the vector."""
    from weaviate.classes.query import Filter

    objects: list[Any] = []
    for start in range(0, len(ids), _MOST):
        part = list(ids[start : start + _MOST])
        wanted = Filter.by_id().contains_any(part)
        objects += collection.query.fetch_objects(filters=wanted, limit=len(part), **_shown(name, False)).objects
    return found_of(objects, name)


def found_of(objects: Sequence[Any], name: str | None) -> Found:
    """Give the objects that have the vector."""
    having = [one for one in objects if one.vector.get(name or "default") is not None]
    return Found([str(one.uuid) for one in having], (), having, [one.vector[name or "default"] for one in having])


def _shown(name: str | None, with_payloads: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"include_vector": [name] if name else True}
    return shown if with_payloads else {**shown, "return_properties": []}
