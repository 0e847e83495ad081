"""The SQLite file of a cache: whose it is, how it is set up, how much of it is in use."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.cache.errors import damaged

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
PAGE = 16_384
# Seconds to wait for another process that writes; each holds the file for the milliseconds of one chunk.
WAIT = 30.0


def connected(path: Path) -> sqlite3.Connection:
    """Open the file of a cache, or make it.

    Args:
        path: the file; its folder is made too.

    Returns:
        A connection that several threads may use in turn; transactions are begun and ended by ``writing``.

    Raises:
        FileFormatError: if the file is another program's, or of another version.
        InvalidInputError: if the folder cannot be made.
        sqlite3.Error: for any other trouble.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{path.parent}: cannot be a folder for a cache: {error}") from error
    # One connection serves all threads, under the lock.
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check whose file it is, and set it up if it is new."""
    # In this order: another process writes both at once, and may do so between the two.
    tables = number(connection, "SELECT count(*) FROM sqlite_master")
    whose = number(connection, "PRAGMA application_id")
    if whose != APPLICATION_ID and (whose or tables):
        raise damaged(path, "it is the database of another program")
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    # Also fails where the file may only be read.
    with writing(connection):
        # Another process may have set it up in the meantime.
        if not number(connection, "SELECT count(*) FROM sqlite_master"):
            for statement in _SCHEMA.strip().split("\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        version = number(connection, "PRAGMA user_version")
    if version != VERSION:
        raise damaged(path, f"it has version {version}, this release of commonscale reads {VERSION}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the journal; two processes that do so at once may be told "locked" without having waited."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Write everything that follows, or nothing; other processes that write wait meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk rolls back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def shrink(connection: sqlite3.Connection) -> None:
    """Give free pages back to the file system."""
    # As a script, which is run to its end; execute() would free a single page.
    connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")


def bytes_used(connection: sqlite3.Connection) -> int:
    """Measure what is stored, in whole pages."""
    return (number(connection, "PRAGMA page_count") - number(connection, "PRAGMA freelist_count")) * PAGE


def number(connection: sqlite3.Connection, statement: str) -> int:
    """Ask for a single number."""
    row: Any = connection.execute(statement).fetchone()
    return int(row[0])
