"""A table of documents that changes, and of which readers hold snapshots that do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from commonscale.core.correction import DocumentTable
from commonscale.core.types import Floats

COLUMNS = 4
"""Numbers per document."""

_FIRST = 64


class LivingTable:
    """Four numbers per document: along, norm and hub score (see ``DocumentTable``), and its next neighbour.

    That is its similarity with the eleventh nearest question, which would enter its hub score if one of the first ten
    left the bank; snapshots do not have it.

    A snapshot costs nothing, and adding documents after it costs only these: they go behind the rows that it reads. It
    takes a copy to change or remove a row that a snapshot reads, once for all changes until the next snapshot.
    """

    def __init__(self) -> None:
        """Begin without documents."""
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._values = np.empty((COLUMNS, _FIRST))
        self._rows_shared = self._values_shared = False

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order of the rows."""
        return tuple(self._ids)

    def values(self, ids: Sequence[str]) -> Floats:
        """Give the numbers (n, 4) of documents that are in the table."""
        taken: Floats = self._values[:, [self._rows[key] for key in ids]].T
        return taken

    def put(self, ids: Sequence[str], values: Floats) -> None:
        """Add documents, or change those that are there.

        Args:
            ids: their ids (n), different from each other.
            values: shape (n, 4).
        """
        known = [place for place, key in enumerate(ids) if key in self._rows]
        if known:
            self._own_values()
            self._values[:, [self._rows[ids[place]] for place in known]] = values[known].T
        new = [place for place, key in enumerate(ids) if key not in self._rows]
        start, end = len(self._ids), len(self._ids) + len(new)
        if end > self._values.shape[1]:
            # Snapshots keep the old array; the rows that they read never change in either.
            grown = np.empty((COLUMNS, max(end, 2 * self._values.shape[1])))
            grown[:, :start] = self._values[:, :start]
            self._values, self._values_shared = grown, False
        self._values[:, start:end] = values[new].T
        self._rows.update((ids[place], row) for row, place in enumerate(new, start))
        self._ids.extend(ids[place] for place in new)

    def drop(self, ids: Sequence[str]) -> None:
        """Remove documents that are in the table; the last rows move into their places."""
        if not ids:
            return
        self._own_values()
        self._own_rows()
        for key in ids:
            row, last = self._rows.pop(key), len(self._ids) - 1
            moved = self._ids.pop()
            if row != last:
                self._ids[row] = moved
                self._rows[moved] = row
                self._values[:, row] = self._values[:, last]

    def snapshot(self) -> DocumentTable:
        """Give the table as it is now; later changes do not reach it."""
        self._rows_shared = self._values_shared = True
        return _Snapshot(self._ids, self._rows, self._values, len(self._ids))

    def _own_values(self) -> None:
        """Leave the numbers that snapshots read to them, before some are changed."""
        if self._values_shared:
            self._values, self._values_shared = self._values.copy(), False

    def _own_rows(self) -> None:
        """Leave the ids that snapshots read to them, before some are removed."""
        if self._rows_shared:
            self._ids, self._rows, self._rows_shared = self._ids.copy(), self._rows.copy(), False


class _Snapshot(DocumentTable):
    """The first rows of a living table.

    Ids and rows are shared with it: it only adds to them, behind what is read here.
    """

    __slots__ = ()

    def __init__(self, ids: list[str], rows: dict[str, int], values: Floats, count: int) -> None:
        for name, value in (
            ("ids", _First(ids, count)),
            ("along", values[0, :count]),
            ("norms", values[1, :count]),
            ("hubs", values[2, :count]),
            ("_rows", rows),
        ):
            object.__setattr__(self, name, value)

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.intp]:
        known, count = self._rows, len(self.ids)
        rows = np.array([known.get(key, -1) for key in ids], dtype=np.intp)
        rows[rows >= count] = -1
        return rows


class _First(Sequence[str]):
    """The first members of a list that only grows."""

    def __init__(self, members: list[str], count: int) -> None:
        self._members = members
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(self._members[: self._count])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return (
            self._members[: self._count][index]
            if isinstance(index, slice)
            else self._members[range(self._count)[index]]
        )
