"""Rows of shards: those of one modality, and the few that have all metadata between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core.types import Modality

if TYPE_CHECKING:
    from commonscale.embedding import ShardBatch, Shards


def by_modality(batch: ShardBatch) -> Iterator[tuple[Modality, ShardBatch]]:
    """Split a batch, each modality in its own order."""
    for kind in dict.fromkeys(batch.modalities):
        yield kind, _rows(batch, [row for row, named in enumerate(batch.modalities) if named == kind])


def with_all_fields(shards: Shards, modality: Modality | None, size: int) -> ShardBatch | None:
    """Find a few documents that have, between them, every field that any document has.

    Args:
        shards: all documents.
        modality: only these; None for all.
        size: documents read together.

    Returns:
        At most one document for each field; None if there are no documents.
    """
    seen: set[str] = set()
    found: list[ShardBatch] = []
    for batch in shards.batches(size, modality):
        for row, (kind, path, metadata) in enumerate(zip(batch.modalities, batch.paths, batch.metadata, strict=True)):
            fields = {f"modality {kind}", *([f"path of {kind}"] if path is not None else []), *_fields(metadata)}
            if not fields <= seen:
                seen |= fields
                found.append(_rows(batch, [row]))
    return _joined(found) if found else None


def _fields(metadata: Mapping[str, Any], prefix: str = "field ") -> Iterator[str]:
    """Name the fields that have a value, those within others too."""
    for key, value in metadata.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}"


_COLUMNS = ("ids", "modalities", "texts", "paths", "metadata")


def _rows(batch: ShardBatch, rows: Sequence[int]) -> ShardBatch:
    columns: dict[str, Any] = {name: [getattr(batch, name)[row] for row in rows] for name in _COLUMNS}
    return type(batch)(vectors=batch.vectors[np.array(rows)], **columns)


def _joined(batches: Sequence[ShardBatch]) -> ShardBatch:
    columns: dict[str, Any] = {name: [one for batch in batches for one in getattr(batch, name)] for name in _COLUMNS}
    return type(batches[0])(vectors=np.concatenate([batch.vectors for batch in batches]), **columns)
