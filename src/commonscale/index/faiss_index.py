"""The embedded index: an exact index that is kept in a folder."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.index import storage
from commonscale.index.manifest import MANIFEST, Manifest
from commonscale.index.memory import MemoryIndex


class FaissIndex(MemoryIndex):
    """A ``MemoryIndex`` that is kept in a folder.

    Changes are in memory until ``save``, which is atomic and writes only what changed. Threads may search, add,
    delete and save at once; a change waits for a running save. Several processes may read a folder; of two that
    write, the second to save is refused with ``IndexConflictError`` and nothing that was saved is lost (a program
    that writes for long takes the folder first: ``exclusive``).

    Attributes:
        folder: where it is kept.
    """

    def __init__(self, folder: str | os.PathLike[str], dimension: int, encoder_fingerprint: str | None) -> None:
        """Make an empty index in memory; use ``create`` or ``open``."""
        super().__init__(dimension, encoder_fingerprint=encoder_fingerprint)
        self.folder = Path(folder)
        self._notes: dict[str, Any] = {}
        self._saved: Manifest | None = None
        self._saving = threading.RLock()
        self._file_lock: Any = None

    @classmethod
    def create(
        cls, folder: str | os.PathLike[str], dimension: int, *, encoder_fingerprint: str | None = None
    ) -> FaissIndex:
        """Start an empty index; the folder is written by the first ``save``.

        Args:
            folder: where it will be kept; may exist, but must not hold an index.
            dimension: length of the vectors, at least 1.
            encoder_fingerprint: the encoder's fingerprint; vectors of another one will be refused.

        Raises:
            InvalidInputError: if there is an index already, or the dimension cannot be used.
            MissingExtraError: if faiss-cpu is not installed.
        """
        require("faiss", "faiss")
        if (Path(folder) / MANIFEST).exists():
            raise InvalidInputError(f"{os.fspath(folder)}: holds an index already; open it, or choose another folder")
        return cls(folder, dimension, encoder_fingerprint)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, mmap: bool = False) -> FaissIndex:
        """Open an index that was saved.

        Args:
            folder: its folder.
            mmap: map the vectors instead of loading them: opens at once, processes share the memory, and the
                index is read-only. Their files are then checked by size, first and last 64 KiB only.

        Raises:
            FileNotFoundError: if there is no index in the folder.
            FileFormatError: naming the file that is damaged, truncated, missing or not in its place.
            MissingExtraError: if faiss-cpu is not installed.
        """
        require("faiss", "faiss")
        path = Path(folder)
        if not (path / MANIFEST).exists():
            raise FileNotFoundError(f"{os.fspath(folder)}: no index here ({MANIFEST} is missing)")
        manifest, documents, shards = storage.read(path, mmap=mmap)
        index = cls(folder, manifest.dimension, manifest.encoder_fingerprint)
        index._documents, index._shards = documents, shards
        index._saved, index._notes, index.read_only = manifest, dict(manifest.notes), mmap
        return index

    def save(self) -> None:
        """Write what changed since the last save, whole or not at all.

        Raises:
            IndexConflictError: if another process is writing to the folder, or has saved since this index was
                opened; what it saved stays.
            InvalidInputError: if the index is read-only.
            OSError: if the folder cannot be written; the index on disk stays as it was.
        """
        self._check_writable()
        with self._saving, self._holding_folder(storage.WAIT), self._lock.reading():
            if not self._changed():
                return
            generation = self._saved.generation if self._saved else 0
            storage.check_current(self.folder, generation)
            shards = {modality: shard for modality, shard in self._shards.items() if len(shard)}
            documents = (self._documents[key] for shard in shards.values() for key in shard.ids)
            self._saved = storage.write(
                self.folder,
                self._saved,
                documents if self._documents_changed or self._saved is None else None,
                shards,
                dimension=self.dimension,
                encoder_fingerprint=self.encoder_fingerprint,
                notes=self._notes,
            )
            # Changes wait for this lock, so nothing can have changed since the files were written.
            self._documents_changed = False
            # Also in shards that have been emptied: nothing is left of them to write.
            for shard in self._shards.values():
                shard.changed = False

    def _changed(self) -> bool:
        if self._saved is None or self._documents_changed:
            return True
        if dict(self._saved.notes) != self._notes or self._saved.encoder_fingerprint != self.encoder_fingerprint:
            return True
        return any(shard.changed for shard in self._shards.values())

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from saving to the folder, for a program that writes for long.

        Raises:
            IndexConflictError: at once, if another process is writing, or has saved since this index was opened.
        """
        self._check_writable()
        with self._holding_folder(0.0):
            storage.check_current(self.folder, self._saved.generation if self._saved else 0)
            yield

    @contextmanager
    def _holding_folder(self, seconds: float) -> Iterator[None]:
        if self._file_lock is None:
            self._file_lock = storage.folder_lock(self.folder)
        storage.acquire(self._file_lock, self.folder, seconds)
        try:
            yield
        finally:
            self._file_lock.release()

    @property
    def notes(self) -> dict[str, Any]:
        """A copy of what the program that fills the index wants to remember (see ``set_note``)."""
        return copy.deepcopy(self._notes)

    def set_note(self, key: str, value: Any) -> None:
        """Remember something beside the documents; saved with the next ``save``.

        Args:
            key: its name.
            value: anything that JSON can hold; None forgets it.

        Raises:
            InvalidInputError: if JSON cannot hold it, or the index is read-only.
        """
        self._check_writable()
        try:
            copied = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(f"the note {key!r} cannot be written as JSON: {error}") from error
        if copied is None:
            self._notes.pop(key, None)
        else:
            self._notes[key] = copied

    @property
    def content_hash(self) -> str | None:
        """Identity of all vectors as last saved, None before the first save: differs when any vector does."""
        if self._saved is None:
            return None
        sums = sorted((modality, record.sha256) for modality, record in self._saved.vectors.items())
        return hashlib.sha256(json.dumps(sums).encode()).hexdigest()
