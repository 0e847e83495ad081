"""What is read from a Chroma collection: its settings, and records by id or by filter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.types import Floats
from commonscale.stores.table import Found

_PAGE = 1000
"""Records in one call: Chroma writes every id into an SQL statement, and those hold at most 32,765."""


class Space(NamedTuple):
    """How a collection compares.

    Attributes:
        structure: ``"hnsw"``, or ``"spann"`` in Chroma's cloud.
        space: ``"cosine"``, ``"l2"``, ``"ip"``; None if the settings do not say.
    """

    structure: str
    space: str | None


class Hits(NamedTuple):
    """What was found for one question: ids and Chroma's distances, best first."""

    ids: Sequence[str]
    distances: Sequence[float]


class Record(NamedTuple):
    """What Chroma keeps beside a vector; either may be missing."""

    document: str | None
    metadata: Mapping[str, Any] | None


Records = dict[str, tuple[Record, Any]]
"""Records and vectors (None if they were not read) by id."""


def space_of(collection: Any) -> Space:
    """Read from a collection's settings how it compares.

    Chroma's configuration decides where there is one, even if the metadata say something else; collections and
    clients from before it have ``hnsw:space`` in their metadata.
    """
    configuration = getattr(collection, "configuration_json", None) or {}
    for structure in ("hnsw", "spann"):
        space = (configuration.get(structure) or {}).get("space")
        if space is not None:
            return Space(structure, str(space))
    space = (collection.metadata or {}).get("hnsw:space")
    return Space("hnsw", None if space is None else str(space))


def is_local(collection: Any) -> bool:
    """Tell whether a collection's data are kept by this process (in memory or in a folder) and not by a server."""
    return type(collection._client).__name__ in ("RustBindingsAPI", "SegmentAPI")


def where_of(*conditions: Any) -> dict[str, Any] | None:
    """Join filters of metadata, each in Chroma's form; None and empty ones are left out.

    Raises:
        InvalidInputError: if one is not of Chroma's form.
    """
    # Whoever has a collection has the package.
    from chromadb.api.types import validate_where

    kept = [condition for condition in conditions if condition is not None and condition != {}]
    for condition in kept:
        try:
            validate_where(condition)
        except ValueError as error:
            raise InvalidInputError(
                f"{condition!r} is no filter of Chroma ({error}); it takes {{'key': value}}, {{'key': {{'$gt': 3}}}}, "
                f"and {{'$and': [..., ...]}} for several keys"
            ) from error
    return {"$and": kept} if len(kept) > 1 else kept[0] if kept else None


@contextmanager
def watched(collection: Any) -> Iterator[None]:
    """Say what it means that Chroma does not find a collection."""
    from chromadb.errors import NotFoundError

    try:
        yield
    except NotFoundError as error:
        raise SourceError(
            f"the Chroma collection {collection.name!r} was deleted after the store was opened: {error}; make a new "
            f"store and a new retriever"
        ) from error


def listed(collection: Any, where: dict[str, Any] | None, limit: int | None = None) -> list[str]:
    """List the ids of the records that pass a filter, ``limit`` at most."""
    ids: list[str] = collection.get(where=where, limit=limit, include=[])["ids"]
    return ids


def vectors_of(collection: Any, ids: Sequence[str]) -> tuple[list[str], Floats]:
    """Read the vectors (n, d) of records by id, without those that are gone."""
    kept: list[str] = []
    parts: list[Floats] = []
    for answer in _pages(collection, ids, ["embeddings"]):
        if answer["ids"]:
            kept += answer["ids"]
            parts.append(np.asarray(answer["embeddings"], dtype=np.float64))
    return kept, np.concatenate(parts) if parts else np.empty((0, 0))


def cut(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut ids into parts that Chroma takes in one call."""
    step = min(size, _PAGE)
    return (ids[start : start + step] for start in range(0, len(ids), step))


def stored(collection: Any, ids: Sequence[str], with_payloads: bool) -> Found:
    """Read vectors, and records if needed, by id; those that are gone are left out."""
    kept: list[str] = []
    vectors: list[Any] = []
    payloads: list[Record] = []
    include = ["embeddings", *(["documents", "metadatas"] if with_payloads else [])]
    for answer in _pages(collection, ids, include):
        kept += answer["ids"]
        vectors += list(answer["embeddings"]) if answer["ids"] else []
        if with_payloads:
            payloads += [Record(*both) for both in zip(answer["documents"], answer["metadatas"], strict=True)]
    return Found(kept, (), payloads, vectors)


def records_of(
    collection: Any, hits: Sequence[Hits], with_vectors: bool, *, answer: Mapping[str, Any] | None = None
) -> Records:
    """Read the records of hits, each once; ``answer`` is one that holds them already."""
    include = ["documents", "metadatas", *(["embeddings"] if with_vectors else [])]
    ids = list(dict.fromkeys(i for one in hits for i in one.ids))
    records: Records = {}
    for page in [answer] if answer is not None else _pages(collection, ids, include):
        vectors = page["embeddings"] if with_vectors else [None] * len(page["ids"])
        for row, document, metadata, vector in zip(
            page["ids"], page["documents"], page["metadatas"], vectors, strict=True
        ):
            records[row] = (Record(document, metadata), vector)
    return records


def found_of(hits: Sequence[Hits], records: Records, with_vectors: bool) -> list[Found]:
    """Put hits and their records together, without those that were deleted in between."""
    found = []
    for one in hits:
        kept = [(i, d, *records[i]) for i, d in zip(one.ids, one.distances, strict=True) if i in records]
        ids, numbers, payloads, vectors = zip(*kept, strict=True) if kept else ((), (), (), ())
        found.append(Found(ids, numbers, payloads, vectors if with_vectors else None))
    return found


def refuse_null(collection: Any, hits: Sequence[Hits]) -> None:
    """Look at the vectors of what is exactly at a right angle to a question: it may be a null vector."""
    suspects = {i for one in hits for i, distance in zip(one.ids, one.distances, strict=True) if distance == 1.0}
    ids, vectors = vectors_of(collection, sorted(suspects))
    for document, vector in zip(ids, vectors, strict=True):
        if not vector.any():
            raise SourceError(
                f"the stored vector of document {document!r} in the Chroma collection {collection.name!r} is null, so "
                f"it has no cosine; embed that document again, or delete it from the store"
            )


def _pages(collection: Any, ids: Sequence[str], include: list[str]) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(ids), _PAGE):
        # Chroma adds to the list that it is given.
        yield collection.get(ids=list(ids[start : start + _PAGE]), include=list(include))
