"""The files of a folder, however many, on disk while they are sorted into partitions."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator

from commonscale.embedding.partitions import FileEntry
from commonscale.embedding.scan import FoundFile
from commonscale.embedding.temporary_table import TemporaryTable


class FileTable:
    """A temporary table of files: a list of a million of them would need most of a gigabyte of memory."""

    def __init__(self, files: Iterable[FoundFile]) -> None:
        """Take down all files.

        Args:
            files: read once, one by one.
        """
        # Names as bytes: not all of them are valid Unicode.
        self._table = TemporaryTable(
            "CREATE TABLE files (hash INTEGER, id BLOB, modality TEXT, size INTEGER, mtime INTEGER)"
        )
        self._table.add("INSERT INTO files VALUES (?, ?, ?, ?, ?)", map(_row, files))

    def __len__(self) -> int:
        ((count,),) = self._table.select("SELECT count(*) FROM files")
        return int(count)

    def buckets(self, count: int) -> Iterator[tuple[int, list[FileEntry]]]:
        """Give the files by bucket: a hash of its id says which one a file belongs to, whatever others there are.

        Args:
            count: how many buckets.

        Yields:
            The number of each bucket that has files, ascending, and its files ordered by id.
        """
        query = "SELECT hash % ? AS bucket, id, modality, size, mtime FROM files ORDER BY bucket, id"
        rows = self._table.select(query, (count,))
        for bucket, members in itertools.groupby(rows, key=lambda row: int(row[0])):
            yield bucket, [FileEntry(os.fsdecode(name), kind, size, mtime) for _, name, kind, size, mtime in members]

    def close(self) -> None:
        """Remove the table from disk."""
        self._table.close()


def _row(file: FoundFile) -> tuple[int, bytes, str, int, int]:
    name = os.fsencode(file.id)
    number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1  # SQLite's integers have a sign
    return number, name, file.modality, file.size, file.mtime_ns
