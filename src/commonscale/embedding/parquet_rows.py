"""Ranges of rows of Parquet files, read forward with little memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

from commonscale.core.extras import require
from commonscale.embedding.parquet_values import values_of
from commonscale.embedding.partitions import RowsWork
from commonscale.embedding.records import EXTRA
from commonscale.embedding.storage import may_pass

_ROWS = 64  # read at once: rows may hold pictures of megabytes
_BUFFER = 1 << 20  # bytes of a column read at once, rather than all of a row group


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        number: its place in the file.
        values: by column; a ``BadValue`` where one cannot be converted.
    """

    number: int
    values: dict[str, Any]

    @property
    def stop(self) -> int:
        """The row after it."""
        return self.number + 1


@dataclass(frozen=True, slots=True)
class LostRows:
    """Rows that cannot be read.

    Attributes:
        number: the first of them.
        stop: the row after the last.
        reason: why.
        transient: whether reading them again may help.
    """

    number: int
    stop: int
    reason: str
    transient: bool = False


Found: TypeAlias = "Row | LostRows"


class RowReader:
    """Reads ranges of rows; ranges that follow each other in one file are read in one go.

    A range begins where its row group does, so that rows before it in the group are read and passed over. Damage
    costs the rest of its row group, and nothing after it. Use it as a context manager, which closes the file.
    """

    def __init__(self) -> None:
        # ValueError and OverflowError: what a damaged length or offset ends in depends on the encoding of the column.
        arrow = require("pyarrow", EXTRA)
        self._errors = (arrow.ArrowException, OSError, EOFError, ValueError, OverflowError)
        self._path: str | None = None
        self._file: Any = None
        self._next = 0
        self._found: Iterator[Found] = iter(())

    def __enter__(self) -> RowReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def rows(self, work: RowsWork) -> Iterator[Found]:
        """Read rows, in order; what cannot be read is told of in between."""
        try:
            self._seek(work)
        except self._errors as error:
            self._close()
            yield LostRows(work.start, work.stop, _reason(error), may_pass(error))
            return
        while self._next < work.stop:
            found = next(self._found, None)
            if found is None:
                self._close()
                reason = f"the file ends before row {work.stop - 1}: it has changed since the run began"
                yield LostRows(max(self._next, work.start), work.stop, reason)
                return
            self._next = min(found.stop, work.stop)
            if found.stop > work.stop:  # the next range begins within what is lost
                self._found = itertools.chain([found], self._found)
            if isinstance(found, LostRows):
                found = LostRows(max(found.number, work.start), self._next, found.reason, found.transient)
            if work.start < found.stop:
                yield found

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
        self._found = self._groups(self._file, number, self._next)

    def _groups(self, file: Any, group: int, row: int) -> Iterator[Found]:
        for number in range(group, file.num_row_groups):  # one by one: damage in one is nothing to the others
            stop = row + file.metadata.row_group(number).num_rows
            try:
                for batch in file.iter_batches(batch_size=_ROWS, row_groups=[number], use_threads=False):
                    for values in zip(*map(values_of, batch.columns), strict=True):
                        yield Row(row, dict(zip(batch.schema.names, values, strict=True)))
                        row += 1
                if row < stop:
                    raise EOFError("the row group ends too soon")
            except self._errors as error:
                yield LostRows(row, stop, _reason(error), may_pass(error))
            row = stop

    def _close(self) -> None:
        self._found = iter(())
        if self._file is not None:
            self._file.close()
        self._file = self._path = None


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _group_of(file: Any, row: int) -> tuple[int, int] | None:
    """Give the number of the row group that holds a row, and its first row; None if the file is shorter."""
    first = 0
    for number in range(file.num_row_groups):
        count = file.metadata.row_group(number).num_rows
        if row < first + count:
            return number, first
        first += count
    return None
