"""Vectors on disk by the hash of what they were made from: one SQLite file, shared by threads and processes.

Two tables, so that noting that a vector was used rewrites 50 bytes and not the vector: ``entry`` (key, last use) and
``vector`` (32-bit floats, little-endian, with their CRC-32). SQLite's write-ahead log keeps what was committed when
a process is killed; a power cut may cost the last chunks, never the file. It needs a local disk (no NFS).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.cache_errors import damaged, explained
from commonscale.encoders.cache_forks import close_before_forks

FILE_NAME = "vectors.sqlite3"
LEAST_BYTES = 1_000_000
APPLICATION_ID = 0x436F6D53  # "ComS", by which SQLite files tell whose they are
VERSION = 1

_SCHEMA = """
CREATE TABLE entry (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL);
CREATE TABLE vector (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE encoder (fingerprint TEXT PRIMARY KEY, dimension INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE clock (tick INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
"""
# Vectors of 512 to 4,096 numbers fill pages of 16 KiB well; in SQLite's usual 4 KiB half of each would be empty.
_PAGE = 16_384
# Seconds to wait for another process that writes; each holds the file for the milliseconds of one chunk.
_WAIT = 30.0
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

    def put(self, vectors: Mapping[bytes, bytes]) -> None:
        """Store vectors, all or none; keys that are there already keep theirs. The longest unused ones make room.

        Raises:
            FileFormatError: if the file is damaged or of another kind.
            EncoderError: if the disk is full, or another process holds the file for half a minute.
        """
        with self._open() as connection, _writing(connection):
            tick = self._write_uses(connection)
            for key, data in vectors.items():
                if connection.execute("INSERT OR IGNORE INTO entry (key, used) VALUES (?, ?)", (key, tick)).rowcount:
                    connection.execute(
                        "INSERT INTO vector VALUES (last_insert_rowid(), ?, ?)", (zlib.crc32(data), data)
                    )
            self._make_room(connection)

    def dimension(self, fingerprint: str) -> int | None:
        """Length of the vectors of an encoder, None if none were stored."""
        with self._open() as connection:
            row = connection.execute("SELECT dimension FROM encoder WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return None if row is None else int(row[0])

    def set_dimension(self, fingerprint: str, dimension: int) -> None:
        """Remember the length of an encoder's vectors, so that a service need not be asked for it."""
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO encoder VALUES (?, ?)", (fingerprint, dimension))

    def count(self) -> int:
        """Count the vectors."""
        with self._open() as connection:
            return _number(connection, "SELECT count(*) FROM entry")

    def bytes_used(self) -> int:
        """Measure the vectors with their keys, in whole pages of the file."""
        with self._open() as connection:
            return _bytes_used(connection)

    def clear(self) -> None:
        """Forget everything, and give the space back."""
        with self._open() as connection:
            self._noted.clear()
            with _writing(connection):
                for table in ("entry", "vector", "encoder"):
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608
            connection.execute("PRAGMA incremental_vacuum").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Write what was used last and close the file; the next use opens it again."""
        with self.lock:
            if self._connection is not None:
                with explained(self.path):
                    self._note_uses(self._connection)
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
                self._connection = _connected(self.path)
            yield self._connection

    def _note_uses(self, connection: sqlite3.Connection) -> None:
        if self._noted:
            with _writing(connection):
                self._write_uses(connection)

    def _write_uses(self, connection: sqlite3.Connection) -> int:
        """Write which vectors were used, and give the time that follows: the clock counts writes."""
        tick = _number(connection, "UPDATE clock SET tick = tick + 2 RETURNING tick")
        connection.executemany("UPDATE entry SET used = ? WHERE id = ?", [(tick - 1, row) for row in self._noted])
        self._noted.clear()
        return tick

    def _make_room(self, connection: sqlite3.Connection) -> None:
        used = _bytes_used(connection)
        while used > self.max_bytes:
            count = _number(connection, "SELECT count(*) FROM entry")
            if not count:
                return
            leaving = max(1, round(count * (1 - _KEPT * self.max_bytes / used)))
            oldest = "SELECT id FROM entry ORDER BY used, id LIMIT ?"
            connection.execute(f"DELETE FROM vector WHERE id IN ({oldest})", (leaving,))  # noqa: S608
            connection.execute(f"DELETE FROM entry WHERE id IN ({oldest})", (leaving,))  # noqa: S608
            used = _bytes_used(connection)
        # Pages that came free are filled again; they are given back only where the limit was lowered.
        if _number(connection, "PRAGMA page_count") * _PAGE > 1.5 * self.max_bytes:
            connection.execute("PRAGMA incremental_vacuum").fetchall()


def _connected(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{path.parent}: cannot be a folder for a cache: {error}") from error
    # One connection serves all threads, under the lock.
    connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check whose file it is, and set it up if it is new."""
    whose = _number(connection, "PRAGMA application_id")
    if whose != APPLICATION_ID and _number(connection, "SELECT count(*) FROM sqlite_master"):
        raise damaged(path, "it is the database of another program")
    connection.execute(f"PRAGMA page_size = {_PAGE}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    # Also fails where the file may only be read.
    with _writing(connection):
        # Another process may have set it up in the meantime.
        if not _number(connection, "SELECT count(*) FROM sqlite_master"):
            for statement in _SCHEMA.strip().split("\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        version = _number(connection, "PRAGMA user_version")
    if version != VERSION:
        raise damaged(path, f"it has version {version}, this release of commonscale reads {VERSION}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the journal; two processes that do so at once may be told "locked" without having waited."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk rolls back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _bytes_used(connection: sqlite3.Connection) -> int:
    return (_number(connection, "PRAGMA page_count") - _number(connection, "PRAGMA freelist_count")) * _PAGE


def _number(connection: sqlite3.Connection, statement: str) -> int:
    row: Any = connection.execute(statement).fetchone()
    return int(row[0])
