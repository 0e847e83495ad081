"""What SQLite's errors mean for a cache of vectors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commonscale.core.errors import EncoderError, FileFormatError, InvalidInputError

# Python 3.10 does not give SQLite's error codes, so its words must do.
_NOT_WRITABLE = ("readonly", "unable to open")
_NOT_NOW = ("locked", "full", "i/o error", "out of memory")

TROUBLES = (FileFormatError, InvalidInputError, EncoderError)
"""What the file of a cache can be the reason of: all that :func:`explained` raises."""


def damaged(path: Path, fault: str) -> FileFormatError:
    """Make the error of a file that is no cache that can be read."""
    return FileFormatError(
        f"{path}: cannot be used as a cache of vectors: {fault}. Nothing was changed. Give another folder, or move the "
        f"file away (with {path.name}-wal and {path.name}-shm beside it): vectors are then computed again"
    )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        FileFormatError: if the file is damaged or no database.
        InvalidInputError: if the file may not be written.
        EncoderError: if it cannot be used now: the disk is full, or another process holds it.
    """
    try:
        yield
    except sqlite3.Error as error:
        said = str(error).lower()
        if isinstance(error, sqlite3.OperationalError):
            if any(words in said for words in _NOT_WRITABLE):
                raise InvalidInputError(
                    f"{path}: the cache cannot be written ({error}); give a folder on a local disk in which this user "
                    f"may create and change files"
                ) from error
            if any(words in said for words in _NOT_NOW):
                raise EncoderError(
                    f"{path}: the cache cannot be used now ({error}); see that the disk has room and that no other "
                    f"program holds the file"
                ) from error
        raise damaged(path, str(error)) from error
