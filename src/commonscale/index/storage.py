"""An index's folder: files named by generation, a manifest swapped last, one writer at a time.

A save writes the files that changed under new names, then replaces ``index.json``, then removes the files that
it no longer names. A crash at any moment leaves the old index whole; what it left behind is removed by the next
save. Programs that have old files mapped keep them (POSIX), or keep them from being removed until a later save
(Windows).

Every name holds twelve random digits (``documents-000003-5f0c2a9e71bd.jsonl``), so that in a folder that holds
other files too, no file of somebody else's is ever taken for one of the index, replaced or removed.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commonscale.core.errors import FileFormatError, IndexConflictError
from commonscale.core.extras import require
from commonscale.core.files import atomic_path, write_text_atomically
from commonscale.core.types import Modality
from commonscale.index.document import Document, from_line, to_line
from commonscale.index.manifest import MANIFEST, FileRecord, Manifest, read_manifest
from commonscale.index.shard import VectorShard

LOCK = "index.lock"
WAIT = 10.0  # seconds that a save waits for another one to end
_OURS = re.compile(
    r"(documents-\d{6,}-[0-9a-f]{12}\.jsonl|vectors-\d{6,}-[0-9a-f]{12}-\d+-[a-z0-9-]*\.faiss)"
    r"|\.((documents|vectors)-\d{6,}-[0-9a-f]{12}.*|index\.json)\.[0-9a-f]{32}\.tmp"
)


def folder_lock(folder: Path) -> Any:
    """Make the lock that writers of a folder hold; the operating system frees it when a process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    return require("filelock", "faiss").FileLock(folder / LOCK, thread_local=False)


def acquire(lock: Any, folder: Path, seconds: float) -> None:
    """Take the writers' lock.

    Raises:
        IndexConflictError: if another writer holds it for longer than ``seconds``.
    """
    try:
        lock.acquire(timeout=seconds)
    except require("filelock", "faiss").Timeout as error:
        raise IndexConflictError(
            f"{folder}: another process is writing to this index; try again when it has finished"
        ) from error


def check_current(folder: Path, generation: int) -> None:
    """Refuse to write over what somebody else has saved.

    Args:
        folder: the index's folder.
        generation: the one that was opened or last saved here; 0 if none.

    Raises:
        IndexConflictError: if the folder holds another one.
    """
    try:
        there = read_manifest(folder).generation
    except FileNotFoundError:
        there = 0
    if there != generation:
        raise IndexConflictError(
            f"{folder}: holds generation {there} of the index, but generation {generation} was opened: somebody else "
            f"has saved meanwhile; open the index again and repeat the changes"
        )


def write(
    folder: Path,
    previous: Manifest | None,
    documents: Iterable[Document] | None,
    shards: Mapping[Modality, VectorShard],
    *,
    dimension: int,
    encoder_fingerprint: str | None,
    notes: Mapping[str, Any],
) -> Manifest:
    """Save an index; the caller holds the lock.

    Args:
        folder: the index's folder.
        previous: the manifest on disk, None if there is none.
        documents: all documents in the order of the shards' rows; None if those on disk are still right.
        shards: the modalities that hold vectors; only changed ones are written.
        dimension: goes into the manifest.
        encoder_fingerprint: goes into the manifest.
        notes: go into the manifest.

    Returns:
        The manifest that is now on disk.
    """
    generation = previous.generation + 1 if previous else 1
    mark = f"{generation:06d}-{secrets.token_hex(6)}"
    if previous is None or documents is not None:
        listed = _write_documents(folder / f"documents-{mark}.jsonl", documents or ())
    else:
        listed = previous.documents
    known = previous.vectors if previous else {}
    vectors: dict[Modality, FileRecord] = {}
    for number, (modality, shard) in enumerate(shards.items()):
        if shard.changed or modality not in known:
            slug = re.sub(r"[^a-z0-9]+", "-", modality.lower())[:32]
            vectors[modality] = _write_shard(folder / f"vectors-{mark}-{number}-{slug}.faiss", shard)
        else:
            vectors[modality] = known[modality]
    manifest = Manifest(generation, dimension, encoder_fingerprint, listed, vectors, dict(notes))
    write_text_atomically(folder / MANIFEST, manifest.dumps())
    _remove_old(folder, previous.files if previous else set(), manifest)
    return manifest


def _write_shard(path: Path, shard: VectorShard) -> FileRecord:
    with atomic_path(path) as temporary:
        shard.write(temporary)
    return FileRecord.of(path, len(shard))


def _write_documents(path: Path, documents: Iterable[Document]) -> FileRecord:
    count = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as stream:
        for document in documents:
            stream.write(to_line(document) + "\n")
            count += 1
    return FileRecord.of(path, count)


def _remove_old(folder: Path, before: set[str], manifest: Manifest) -> None:
    for path in folder.iterdir():
        if path.name not in manifest.files and (path.name in before or _OURS.fullmatch(path.name)):
            # Windows does not remove a file that somebody has mapped; the next save tries again.
            with contextlib.suppress(OSError):
                path.unlink()


def read(folder: Path, *, mmap: bool) -> tuple[Manifest, dict[str, Document], dict[Modality, VectorShard]]:
    """Read an index that ``write`` wrote.

    A save by another process may remove files between reading the manifest and opening them: then the newer
    manifest is read.

    Args:
        folder: the index's folder.
        mmap: map vectors instead of loading them; their files are then checked by size and edges only.

    Raises:
        FileNotFoundError: if there is no index.
        FileFormatError: naming the file that is missing, damaged, truncated or not in its place.
    """
    while True:
        manifest = read_manifest(folder)
        try:
            return manifest, *_load(folder, manifest, mmap=mmap)
        except (FileFormatError, FileNotFoundError):
            if read_manifest(folder).generation == manifest.generation:
                raise


def _load(folder: Path, manifest: Manifest, *, mmap: bool) -> tuple[dict[str, Document], dict[Modality, VectorShard]]:
    documents = _read_documents(manifest.documents.verify(folder), manifest)
    shards = {}
    for modality, record in manifest.vectors.items():
        path = record.verify(folder, edges_only=mmap)
        ids = [document.id for document in documents.values() if document.modality == modality]
        shards[modality] = VectorShard.read(path, manifest.dimension, ids, mmap=mmap)
    return documents, shards


def _read_documents(path: Path, manifest: Manifest) -> dict[str, Document]:
    documents: dict[str, Document] = {}
    with path.open(encoding="ascii") as stream:
        try:
            for line in stream:
                document = from_line(line)
                documents[document.id] = document
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{path}: line {len(documents) + 1} is no document: {error}") from error
    if len(documents) != manifest.documents.count:
        raise FileFormatError(f"{path}: holds {len(documents)} documents, expected {manifest.documents.count}")
    return documents
