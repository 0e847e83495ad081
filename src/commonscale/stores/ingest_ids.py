"""The ids that items get in a store: the same ones each time, so that putting them in again leaves one copy."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality
from commonscale.stores.ingest import Entry, as_list, check_count

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "commonscale")
"""Namespace of ids made from contents, the same on every machine."""


def id_of(modality: Modality, content: str, place: str = "") -> str:
    """Make an item's id from what it is: a UUID, which every store takes as an id (Qdrant takes little else).

    Args:
        modality: its modality.
        content: a text, or what names a picture: its path, its URL or a digest.
        place: the collection, for stores whose ids are unique over several of them.

    Returns:
        A UUID of version 5, as text.
    """
    # Names of files may hold bytes that are no Unicode.
    name = "\n".join((place, modality, content)).encode("utf-8", "backslashreplace").decode("utf-8")
    return str(uuid.uuid5(NAMESPACE, name))


def given_ids(ids: Any, count: int) -> list[str] | None:
    """Check ids that the caller gives.

    Returns:
        The ids; None if there are none.

    Raises:
        InvalidInputError: if there is not one for each item, or one is no text or empty.
    """
    if ids is None:
        return None
    checked = as_list(ids, "id")
    check_count("ids", checked, count)
    for place, given in enumerate(checked):
        if not isinstance(given, str) or not given:
            raise InvalidInputError(f"ids[{place}] must be a text that is not empty, got {given!r}")
    return checked


def check_uuids(ids: Sequence[str], store_name: str) -> None:
    """Check that ids are UUIDs, for stores that take nothing else.

    Raises:
        InvalidInputError: if one is not.
    """
    for given in ids:
        try:
            uuid.UUID(given)
        except ValueError:
            raise InvalidInputError(
                f"a {store_name} takes only UUIDs as ids, got {given!r}; leave ids= out to have UUIDs made from the "
                f"contents, or make one: str(uuid.uuid5(namespace, {given!r}))"
            ) from None


def distinct(entries: Sequence[Entry], same: Callable[[Any, Any], bool], *, given: bool) -> list[Entry]:
    """Leave out entries that come a second time.

    Args:
        entries: the entries.
        same: tells of the payloads of two entries with one id whether they are equal.
        given: whether the caller gave the ids.

    Raises:
        InvalidInputError: if two entries have the same id, and are not the same.
    """
    first: dict[str, Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.id, entry)
        if other is entry:
            continue
        if given:
            raise InvalidInputError(
                f"the id {entry.id!r} comes twice, for {other.name} and {entry.name}; each needs its own"
            )
        if not same(other.payload, entry.payload):
            raise InvalidInputError(
                f"{other.name} and {entry.name} have the same id {entry.id!r} (made from the contents, where none is "
                f"given) but other metadata or captions, so that one would replace the other; give ids=, one for each"
            )
    return list(first.values())
