"""Vectors on disk by the hash of what they were made from: one SQLite file, shared by threads and processes.

Two tables, so that noting that a vector was used rewrites 50 bytes and not the vector: ``entry`` (key, last use) and
``vector`` (32-bit floats, little-endian, with their CRC-32). SQLite's write-ahead log keeps what was committed when
a process is killed; a power cut may cost the last chunks, never the file. It needs a local disk (no NFS).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from commonscale.core.errors import CacheWarning, InvalidInputError
from commonscale.core.warn import warn
from commonscale.encoders.cache.errors import TROUBLES, damaged, explained
from commonscale.encoders.cache.file import PAGE, bytes_used, connected, number, shrink, writing
from commonscale.encoders.cache.flights import Flights
from commonscale.encoders.cache.forks import close_before_forks

FILE_NAME = "vectors.sqlite3"
LEAST_BYTES = 1_000_000

# Keys in one query: below the 999 variables that old builds of SQLite allow.
_KEYS = 500
# Uses that are remembered before they are written, at the latest.
_NOTED = 8192
# What is left after eviction, so that it happens once in a while and not with every chunk.
_KEPT = 0.9


class VectorStore:
    """A bounded mapping from keys to vectors (as bytes) in a folder.

    The file is opened when it is first needed, and again after ``close``. Recency is exact within a process; uses are
    written with the next vectors, on ``close``, or when many have gathered.

    Attributes:
        path: the file.
        max_bytes: most that the vectors may take, with their keys and SQLite's own pages.
        flights: the keys whose vectors are being computed by the threads of this process.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < LEAST_BYTES:
            raise InvalidInputError(f"max_bytes must be a whole number of at least {LEAST_BYTES:,}, got {max_bytes!r}")
        self.__setstate__((Path(os.fsdecode(folder)) / FILE_NAME, max_bytes))

    def __getstate__(self) -> tuple[Path, int]:
        return self.path, self.max_bytes

    def __setstate__(self, state: tuple[Path, int]) -> None:
        self.path, self.max_bytes = state
        self.lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._noted: set[int] = set()
        self.flights = Flights()
        close_before_forks(self)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Look up vectors.

        Args:
            keys: any number.

        Returns:
            The vectors of those keys that are there, as little-endian 32-bit floats.

        Raises:
            FileFormatError: if the file is damaged or of another kind.
        """
        found: dict[bytes, bytes] = {}
        with self._open() as connection:
            for start in range(0, len(keys), _KEYS):
                part = keys[start : start + _KEYS]
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    "SELECT e.key, e.id, v.crc, v.data FROM entry e JOIN vector v USING (id) "  # noqa: S608 (only ?)
                    f"WHERE e.key IN ({marks})",
                    part,
                )
                for key, row, crc, data in rows:
                    if zlib.crc32(data) != crc:
                        raise damaged(self.path, "a vector is not as it was written")
                    found[key] = data
                    self._noted.add(row)
            if len(self._noted) >= _NOTED:
                self._note_uses(connection)
        return found

    def put(self, vectors: Mapping[bytes, bytes], fingerprint: str, dimension: int) -> None:
        """Store vectors, all or none; keys that are there already keep theirs. The longest unused ones make room.

        Args:
            vectors: as ``get`` gives them.
            fingerprint: whose they are.
            dimension: their length, remembered with it.

        Raises:
            FileFormatError: if the file is damaged or of another kind.
            EncoderError: if the disk is full, or another process holds the file for half a minute.
        """
        with self._open() as connection:
            with writing(connection):
                connection.execute("INSERT OR IGNORE INTO encoder VALUES (?, ?)", (fingerprint, dimension))
                tick = self._write_uses(connection)
                for key, data in vectors.items():
                    new = connection.execute("INSERT OR IGNORE INTO entry (key, used) VALUES (?, ?)", (key, tick))
                    if new.rowcount:
                        row = (new.lastrowid, zlib.crc32(data), data)
                        connection.execute("INSERT INTO vector VALUES (?, ?, ?)", row)
                self._make_room(connection)
            # Pages that came free are filled again; they are given back only where the limit was lowered.
            if number(connection, "PRAGMA page_count") * PAGE > 1.5 * self.max_bytes:
                shrink(connection)

    def dimension(self, fingerprint: str) -> int | None:
        """Length of the vectors of an encoder, None if none were stored."""
        with self._open() as connection:
            row = connection.execute("SELECT dimension FROM encoder WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return None if row is None else int(row[0])

    def count(self) -> int:
        """Count the vectors."""
        with self._open() as connection:
            return number(connection, "SELECT count(*) FROM entry")

    def bytes_used(self) -> int:
        """Measure the vectors with their keys, in whole pages of the file."""
        with self._open() as connection:
            return bytes_used(connection)

    def clear(self) -> None:
        """Forget everything, and give the space back."""
        with self._open() as connection:
            self._noted.clear()
            with writing(connection):
                for table in ("entry", "vector", "encoder"):
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608
            shrink(connection)

    def close(self) -> None:
        """Write what was used last and close the file; the next use opens it again.

        Warns:
            CacheWarning: if it cannot be written; the vectors are not affected.
        """
        with self.lock:
            if self._connection is not None:
                try:
                    with explained(self.path):
                        self._note_uses(self._connection)
                except TROUBLES as error:
                    warn(f"which vectors were used last was not noted: {error}", CacheWarning)
                finally:
                    self.disconnect()

    def disconnect(self) -> None:
        """Close the connection, if there is one; the caller holds the lock."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self.lock, explained(self.path):
            if self._connection is None:
                self._connection = connected(self.path)
            yield self._connection

    def _note_uses(self, connection: sqlite3.Connection) -> None:
        if self._noted:
            with writing(connection):
                self._write_uses(connection)

    def _write_uses(self, connection: sqlite3.Connection) -> int:
        """Write which vectors were used, and give the time that follows: the clock counts writes."""
        connection.execute("UPDATE clock SET tick = tick + 2")
        tick = number(connection, "SELECT tick FROM clock")
        connection.executemany("UPDATE entry SET used = ? WHERE id = ?", [(tick - 1, row) for row in self._noted])
        self._noted.clear()
        return tick

    def _make_room(self, connection: sqlite3.Connection) -> None:
        used = bytes_used(connection)
        while used > self.max_bytes:
            count = number(connection, "SELECT count(*) FROM entry")
            if not count:
                return
            leaving = max(1, round(count * (1 - _KEPT * self.max_bytes / used)))
            oldest = "SELECT id FROM entry ORDER BY used, id LIMIT ?"
            connection.execute(f"DELETE FROM vector WHERE id IN ({oldest})", (leaving,))  # noqa: S608
            connection.execute(f"DELETE FROM entry WHERE id IN ({oldest})", (leaving,))  # noqa: S608
            used = bytes_used(connection)
