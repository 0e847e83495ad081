"""A table on disk of what would need too much memory as a list."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from commonscale.core.errors import StorageError


class TemporaryTable:
    """A SQLite table in a temporary folder."""

    def __init__(self, definition: str) -> None:
        """Make an empty one.

        Args:
            definition: the statement that creates it.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="commonscale-")
        self._table = sqlite3.connect(Path(self._folder.name) / "table.sqlite")
        # It is thrown away in any case, so nothing has to survive a crash.
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute("PRAGMA synchronous = OFF")
        self._table.execute(definition)

    def add(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement once for each row.

        Raises:
            StorageError: if the disk is full.
        """
        with self._full_explained():
            self._table.executemany(statement, rows)
            self._table.commit()

    def select(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Give what a query finds, row by row.

        Raises:
            StorageError: if there is no room on the disk to sort.
        """
        with self._full_explained():  # the first step, which sorts, is taken here
            return self._table.execute(query, values)

    def close(self) -> None:
        """Remove the table from disk."""
        self._table.close()
        with suppress(OSError):  # Windows: a virus scanner may look at it just now
            self._folder.cleanup()

    @contextmanager
    def _full_explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self._folder.name}: a table of the corpus cannot be kept there: {error}; free space there, or name "
                f"another folder for temporary files (TMPDIR, for sorting SQLITE_TMPDIR), and run the same again"
            ) from error
