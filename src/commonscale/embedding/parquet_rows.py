"""Ranges of rows of Parquet files, read forward with little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from commonscale.core.extras import require
from commonscale.embedding.partitions import RowsWork
from commonscale.embedding.records import EXTRA

_ROWS = 64  # read at once: rows may hold pictures of megabytes
_BUFFER = 1 << 20  # bytes of a column read at once, rather than all of a row group


class RowReader:
    """Reads ranges of rows; ranges that follow each other in one file are read in one go.

    A range begins where its row group does, so that rows before it in the group are read and passed over. Use it as a
    context manager, which closes the file.

    Attributes:
        errors: what reading a damaged file raises.
    """

    def __init__(self) -> None:
        self.errors: tuple[type[Exception], ...] = (require("pyarrow", EXTRA).ArrowException, OSError, EOFError)
        self._path: str | None = None
        self._file: Any = None
        self._next = 0
        self._rows: Iterator[dict[str, Any]] = iter(())

    def __enter__(self) -> RowReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def rows(self, work: RowsWork) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read rows with their numbers in the file.

        Raises:
            Exception: one of ``errors``, if the file cannot be read.
        """
        self._seek(work)
        try:
            while self._next < work.stop:
                values = next(self._rows, None)
                if values is None:
                    raise EOFError(f"the file ends before row {work.stop - 1}: it has changed since the run began")
                number, self._next = self._next, self._next + 1
                if number >= work.start:
                    yield number, values
        except self.errors:
            self._close()
            raise

    def _seek(self, work: RowsWork) -> None:
        if self._file is not None and work.path == self._path and self._next <= work.start:
            group = _group_of(self._file, work.start)
            if group is None or group[1] <= self._next:
                return
        self._close()
        parquet = require("pyarrow.parquet", EXTRA)
        self._file = parquet.ParquetFile(work.path, buffer_size=_BUFFER, pre_buffer=False)
        self._path = work.path
        group = _group_of(self._file, work.start)
        if group is None:
            raise EOFError(f"the file ends before row {work.start}: it has changed since the run began")
        number, self._next = group
        self._rows = _rows_of(self._file, range(number, self._file.num_row_groups))

    def _close(self) -> None:
        self._rows = iter(())
        if self._file is not None:
            self._file.close()
        self._file = self._path = None


def _rows_of(file: Any, groups: Iterable[int]) -> Iterator[dict[str, Any]]:
    for group in groups:  # one by one, so that a damaged group does not take rows of the one before with it
        for batch in file.iter_batches(batch_size=_ROWS, row_groups=[group], use_threads=False):
            yield from batch.to_pylist()


def _group_of(file: Any, row: int) -> tuple[int, int] | None:
    """Give the number of the row group that holds a row, and its first row; None if the file is shorter."""
    first = 0
    for number in range(file.num_row_groups):
        count = file.metadata.row_group(number).num_rows
        if row < first + count:
            return number, first
        first += count
    return None
