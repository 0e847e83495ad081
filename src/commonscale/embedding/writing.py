"""Shards of vectors that were computed elsewhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.embedding.manifest import ShardManifest, has_shards
from commonscale.embedding.part_file import write_part
from commonscale.embedding.records import ShardBatch
from commonscale.embedding.shards import Shards, open_shards

CORPUS = {"kind": "vectors"}
"""What the manifest says of a corpus that was not embedded here."""


def write_shards(
    folder: str | os.PathLike[str],
    batches: Iterable[ShardBatch],
    *,
    encoder_fingerprint: str,
    encoder_name: str | None = None,
) -> Shards:
    """Write vectors from anywhere as shards, one part per batch.

    Args:
        folder: where to; must not hold shards yet.
        batches: the documents with their vectors, of any norm; at least one batch. Ids must be unique among all.
        encoder_fingerprint: identity of the model that made the vectors; any text that no other model has.
        encoder_name: hub id or folder for ``load_encoder``, if it is one that it serves.

    Returns:
        The shards, opened.

    Raises:
        InvalidInputError: if there are shards already, no batches, ids that come twice, or vectors without a direction
            or of different lengths.
        MissingExtraError: if pyarrow is not installed.
    """
    path = Path(folder)
    if has_shards(path):
        raise InvalidInputError(f"{os.fspath(folder)}: holds shards already; choose another folder")
    parts: list[str] = []
    seen: set[str] = set()
    dimension = 0
    for number, batch in enumerate(batches):
        rows = unit_rows(batch.vectors)
        dimension = dimension or rows.shape[1]
        if rows.shape[1] != dimension:
            raise InvalidInputError(f"batch {number} has vectors of length {rows.shape[1]}, the first has {dimension}")
        for key in batch.ids:
            if key in seen:
                raise InvalidInputError(f"the id {key!r} comes twice (again in batch {number}); ids must be unique")
            seen.add(key)
        unit = ShardBatch(batch.ids, batch.modalities, rows, batch.texts, batch.paths, batch.metadata)
        digest = hashlib.sha256("\n".join([encoder_fingerprint, *batch.ids]).encode() + rows.tobytes())
        parts.append(f"part-{number:05d}-{digest.hexdigest()[:16]}.parquet")
        write_part(path / parts[-1], unit, fingerprint=encoder_fingerprint, items=len(batch))
    if not parts:
        raise InvalidInputError("write_shards() got no batches; give at least one")
    ShardManifest(encoder_fingerprint, encoder_name, dimension, CORPUS, tuple(parts)).write(path)
    return open_shards(path)
