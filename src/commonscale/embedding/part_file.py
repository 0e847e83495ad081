"""One part: a Parquet file of embedded documents that says itself what it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.core.errors import FileFormatError
from commonscale.core.extras import require
from commonscale.core.files import atomic_path
from commonscale.core.types import Modality
from commonscale.embedding.records import EXTRA, ShardBatch, ShardFailure
from commonscale.embedding.storage import trouble_explained

KEY = b"commonscale"
"""Under this key a file's Parquet metadata says, as JSON, what a ``PartHeader`` says."""

_VERSION = 1


@dataclass(frozen=True)
class PartHeader:
    """What a part says of itself.

    Attributes:
        encoder_fingerprint: whose vectors they are.
        dimension: length of every vector.
        items: how many files or rows of the corpus it covers, failures included.
        counts: documents by modality.
        failures: what could not be embedded.
    """

    encoder_fingerprint: str
    dimension: int
    items: int
    counts: Mapping[Modality, int]
    failures: tuple[ShardFailure, ...] = ()


def write_part(
    path: Path, batch: ShardBatch, *, fingerprint: str, failures: tuple[ShardFailure, ...] = (), items: int
) -> PartHeader:
    """Write a part, whole or not at all.

    Args:
        path: where; its folder is made if needed.
        batch: the embedded documents, in order; may be empty.
        fingerprint: whose vectors they are.
        failures: what could not be embedded.
        items: how many files or rows it covers.

    Returns:
        What the file says of itself.

    Raises:
        StorageError: if its folder is full or cannot be written to.
    """
    parquet = require("pyarrow.parquet", EXTRA)
    dimension = batch.vectors.shape[1]
    header = PartHeader(fingerprint, dimension, items, dict(Counter(batch.modalities)), failures)
    facts = {
        "schema_version": _VERSION,
        "encoder_fingerprint": fingerprint,
        "dimension": dimension,
        "items": items,
        "counts": header.counts,
        "failures": [_of_failure(failure) for failure in failures],
    }
    table = _table(batch, dimension).replace_schema_metadata({KEY: json.dumps(facts).encode()})
    with trouble_explained(path.parent), atomic_path(path) as temporary:
        # Checksums of pages: a flipped bit in a vector would otherwise be found by nobody.
        parquet.write_table(table, temporary, compression="zstd", use_dictionary=["modality"], write_page_checksum=True)
    return header


def _of_failure(failure: ShardFailure) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": failure.id, "reason": failure.reason}
    return {**entry, "transient": True} if failure.transient else entry


def _table(batch: ShardBatch, dimension: int) -> Any:
    pa = require("pyarrow", EXTRA)
    flat = np.ascontiguousarray(batch.vectors, dtype=np.float32).reshape(-1)
    metadata = [json.dumps(dict(entry), allow_nan=False) for entry in batch.metadata]
    columns = [
        pa.array(list(batch.ids), pa.string()),
        pa.array(list(batch.modalities), pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(flat), dimension),
        pa.array(list(batch.texts), pa.string()),
        pa.array(list(batch.paths), pa.string()),
        pa.array(metadata, pa.string()),
    ]
    return pa.table(columns, schema=_schema(dimension))


def _schema(dimension: int) -> Any:
    pa = require("pyarrow", EXTRA)
    text = pa.string()
    types = {
        "id": text,
        "modality": text,
        "embedding": pa.list_(pa.float32(), dimension),
        "text": text,
        "path": text,
        "metadata": text,
    }
    return pa.schema([pa.field(name, kind, nullable=name == "path") for name, kind in types.items()])


def read_header(path: Path) -> PartHeader:
    """Read what a part says of itself, from the end of the file only.

    Raises:
        FileFormatError: if it is damaged, missing or no part.
    """
    parquet = require("pyarrow.parquet", EXTRA)
    with _damage_explained(path):
        schema = parquet.read_schema(path)
        facts = json.loads((schema.metadata or {})[KEY])
        if facts["schema_version"] != _VERSION:
            raise FileFormatError(
                f"{path}: has schema version {facts['schema_version']!r}, this commonscale reads {_VERSION}; "
                f"upgrade commonscale, or embed into another folder"
            )
        if schema.remove_metadata() != _schema(facts["dimension"]):
            raise ValueError(f"unexpected columns {schema.names}")
        failures = tuple(
            ShardFailure(entry["id"], entry["reason"], bool(entry.get("transient"))) for entry in facts["failures"]
        )
        return PartHeader(facts["encoder_fingerprint"], facts["dimension"], facts["items"], facts["counts"], failures)


def read_batches(path: Path, size: int, modality: Modality | None = None) -> Iterator[ShardBatch]:
    """Read a part's documents, at most ``size`` at a time.

    Args:
        path: the file.
        size: most documents at once.
        modality: only these; None for all.

    Raises:
        FileFormatError: if it is damaged or missing.
    """
    parquet = require("pyarrow.parquet", EXTRA)
    compute = require("pyarrow.compute", EXTRA)
    with _damage_explained(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for found in file.iter_batches(batch_size=size):
            wanted = found if modality is None else found.filter(compute.equal(found["modality"], modality))
            if wanted.num_rows:
                yield _batch(wanted)


def read_ids(path: Path) -> Iterator[list[str]]:
    """Read the ids of a part's documents, and nothing else of it.

    Raises:
        FileFormatError: if it is damaged or missing.
    """
    parquet = require("pyarrow.parquet", EXTRA)
    with _damage_explained(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for found in file.iter_batches(batch_size=10_000, columns=["id"]):
            yield found["id"].to_pylist()


def _batch(record: Any) -> ShardBatch:
    dimension = record["embedding"].type.list_size
    vectors = record["embedding"].flatten().to_numpy().reshape(-1, dimension)
    return ShardBatch(
        ids=record["id"].to_pylist(),
        modalities=record["modality"].to_pylist(),
        # A copy: Arrow's own memory is read-only, and would be kept as a whole by a single row of it.
        vectors=np.array(vectors, dtype=np.float32),
        texts=record["text"].to_pylist(),
        paths=record["path"].to_pylist(),
        metadata=[json.loads(entry) for entry in record["metadata"].to_pylist()],
    )


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    arrow_error = require("pyarrow", EXTRA).ArrowException
    try:
        yield
    except FileFormatError:
        raise
    except (arrow_error, OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{path}: this part is damaged, missing or no part of an embedding ({type(error).__name__}: {error}); "
            f"delete it and run the same embed command again: only this part is embedded anew"
        ) from error
