"""``index.json``: which files make up an index, and how to tell that they are the right ones, undamaged.

    {"format": "commonscale.index", "schema_version": 1, "generation": 3,
     "dimension": 512, "encoder_fingerprint": "...",
     "documents": {"file": "documents-000003-5f0c2a9e71bd.jsonl", "count": 5, "bytes": 812, "sha256": "...",
                   "edges": "..."},
     "vectors": {"image": {"file": "vectors-000002-90be13d7a46f-0-image.faiss", "count": 2, ...}, "text": {...}},
     "notes": {}}

Unknown fields are refused, not skipped: a field of a later version may change what the files mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from commonscale.core.errors import FileFormatError
from commonscale.core.types import Modality

MANIFEST = "index.json"
FORMAT = "commonscale.index"
SCHEMA_VERSION = 1
_EDGE = 1 << 16
_BLOCK = 1 << 20
_LARGEST = 1 << 63  # no size, count or generation that was written reaches it


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file of the index must be.

    Attributes:
        file: its name in the index's folder.
        count: how many documents or vectors it holds.
        bytes: its size.
        sha256: checksum of all of it.
        edges: checksum of its first and last 64 KiB, for files that are mapped and not read through.
    """

    file: str
    count: int
    bytes: int
    sha256: str
    edges: str

    @classmethod
    def of(cls, path: Path, count: int) -> FileRecord:
        """Describe a file that has just been written."""
        whole = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                whole.update(block)
        return cls(path.name, count, path.stat().st_size, whole.hexdigest(), _edges(path))

    def verify(self, folder: Path, *, edges_only: bool = False) -> Path:
        """Check that the file is there and is the one that was written.

        Args:
            folder: the index's folder.
            edges_only: compare size and edges only, without reading all of it.

        Returns:
            Its path.

        Raises:
            FileFormatError: if it is missing, truncated, damaged or another file.
        """
        path = folder / self.file
        remedy = "restore the folder from a backup, or delete it and build the index again"
        if not path.is_file():
            raise FileFormatError(f"{path}: missing from the index; {remedy}")
        size = path.stat().st_size
        if size != self.bytes:
            raise FileFormatError(f"{path}: has {size} bytes where {self.bytes} were written: truncated, or {_SWAPPED}")
        found = _edges(path) if edges_only else FileRecord.of(path, self.count).sha256
        if found != (self.edges if edges_only else self.sha256):
            raise FileFormatError(f"{path}: its content is not what was written: damaged, or {_SWAPPED}")
        return path


_SWAPPED = (
    "a file of another modality or generation in its place; "
    "restore the folder from a backup, or delete it and build the index again"
)


def _edges(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as stream:
        edges = hashlib.sha256(stream.read(_EDGE))
        stream.seek(max(size - _EDGE, 0))
        edges.update(stream.read(_EDGE))
    return edges.hexdigest()


@dataclass(frozen=True)
class Manifest:
    """The current state of an index on disk.

    Attributes:
        generation: counts saves, from 1.
        dimension: length of every vector.
        encoder_fingerprint: whose vectors they are, if known.
        documents: the documents file.
        vectors: the FAISS file of each modality, in order of first insertion.
        notes: what the program that fills the index wants to remember.
    """

    generation: int
    dimension: int
    encoder_fingerprint: str | None
    documents: FileRecord
    vectors: Mapping[Modality, FileRecord]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """Names of all files that belong to it."""
        return {self.documents.file, *(record.file for record in self.vectors.values())}

    def dumps(self) -> str:
        """Render as JSON text."""
        document = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(self)}
        return json.dumps(document, indent=2, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read ``index.json``.

    Args:
        folder: the index's folder.

    Raises:
        FileNotFoundError: if there is none.
        FileFormatError: if it is damaged, is no index, or was written by a newer version.
    """
    path = folder / MANIFEST
    data = path.read_bytes()
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: no valid JSON ({error}): damaged or truncated; restore it from a backup, or delete the folder "
            f"and build the index again"
        ) from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise FileFormatError(f'{path}: not an index: it lacks "format": "{FORMAT}"')
    version = document.pop("schema_version", None)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise FileFormatError(
            f"{path}: has schema version {version!r}, this commonscale reads version {SCHEMA_VERSION}; "
            f"upgrade commonscale or build the index again"
        )
    try:
        return _build(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path}: damaged index: {error}; restore it from a backup or build it again") from error


def _build(document: dict[str, Any]) -> Manifest:
    manifest = Manifest(
        generation=_typed(document.pop("generation"), int),
        dimension=_typed(document.pop("dimension"), int),
        encoder_fingerprint=_typed(document.pop("encoder_fingerprint"), (str, type(None))),
        documents=_record(document.pop("documents")),
        vectors={modality: _record(entry) for modality, entry in document.pop("vectors").items()},
        notes=_typed(document.pop("notes"), dict),
    )
    if document:
        raise ValueError(f"unknown fields {sorted(document)} (perhaps from a newer commonscale)")
    if manifest.generation < 1 or manifest.dimension < 1:
        raise ValueError(f"generation {manifest.generation} and dimension {manifest.dimension} must be at least 1")
    if manifest.documents.count != sum(record.count for record in manifest.vectors.values()):
        raise ValueError("documents and vectors differ in number")
    return manifest


def _record(entry: dict[str, Any]) -> FileRecord:
    if set(entry) != {item.name for item in fields(FileRecord)}:
        raise ValueError(f"a file record has the fields {sorted(entry)}")
    record = FileRecord(**entry)
    for number in (record.count, record.bytes):
        _typed(number, int)
    for text in (record.file, record.sha256, record.edges):
        _typed(text, str)
    if Path(record.file).name != record.file:
        raise ValueError(f"{record.file!r} is not a file name in the index's own folder")
    return record


def _typed(value: Any, types: type | tuple[type, ...]) -> Any:
    if isinstance(value, bool) or not isinstance(value, types):
        raise TypeError(f"the value {value!r} has the wrong type")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ValueError("a number is larger than any that an index can hold")
    return value
