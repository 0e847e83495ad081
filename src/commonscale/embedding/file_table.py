"""The files of a folder, however many, on disk while they are sorted into partitions."""

from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from commonscale.embedding.partitions import FileEntry
from commonscale.embedding.scan import FoundFile


class FileTable:
    """A temporary table of files: a list of a million of them would need most of a gigabyte of memory."""

    def __init__(self, files: Iterable[FoundFile]) -> None:
        """Take down all files.

        Args:
            files: read once, one by one.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="commonscale-")
        self._table = sqlite3.connect(Path(self._folder.name) / "files.sqlite")
        # It is thrown away in any case, so nothing has to survive a crash.
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute("PRAGMA synchronous = OFF")
        # Names as bytes: not all of them are valid Unicode.
        self._table.execute("CREATE TABLE files (hash INTEGER, id BLOB, modality TEXT, size INTEGER, mtime INTEGER)")
        self._table.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", map(_row, files))
        self._table.commit()

    def __len__(self) -> int:
        return int(self._table.execute("SELECT count(*) FROM files").fetchone()[0])

    def buckets(self, count: int) -> Iterator[tuple[int, list[FileEntry]]]:
        """Give the files by bucket: a hash of its id says which one a file belongs to, whatever others there are.

        Args:
            count: how many buckets.

        Yields:
            The number of each bucket that has files, ascending, and its files ordered by id.
        """
        query = "SELECT hash % ? AS bucket, id, modality, size, mtime FROM files ORDER BY bucket, id"
        rows = self._table.execute(query, (count,))
        for bucket, members in itertools.groupby(rows, key=lambda row: int(row[0])):
            yield bucket, [FileEntry(os.fsdecode(name), kind, size, mtime) for _, name, kind, size, mtime in members]

    def close(self) -> None:
        """Remove the table from disk."""
        self._table.close()
        with suppress(OSError):  # Windows: a virus scanner may look at it just now
            self._folder.cleanup()


def _row(file: FoundFile) -> tuple[int, bytes, str, int, int]:
    name = os.fsencode(file.id)
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1  # SQLite's integers have a sign
    return number, name, file.modality, file.size, file.mtime_ns
