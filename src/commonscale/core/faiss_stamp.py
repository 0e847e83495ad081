"""Noticing that a FAISS index no longer holds the vectors that were seen in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.extras import require
from commonscale.core.faiss_layers import storage

SAMPLED_ROWS = 32
SAMPLED_CELLS = 4
RECONSTRUCTED_ROWS = 4


class IndexStamp:
    """What an index held at one moment, as far as it can be told at little cost.

    FAISS does not count its changes, and comparing all vectors costs as much as a search. So 32 rows are compared,
    evenly spread and the last one with them: a removed row moves all that follow, and what is added comes last, so
    that only a reset index that was filled again with other vectors in a few places goes unnoticed. Rows of which
    a copy is searched are compared one and all, four bytes of each, which finds any vector that was made anew.
    An inverted file is compared by the sizes and last entries of 4 cells. At 20,000 rows of 512 numbers this takes
    some 25 microseconds, and 0.22 ms where there is a copy, whose search takes ten times as long at the least.
    """

    def __init__(self, index: Any, copied: npt.NDArray[np.int64] | None) -> None:
        """Look at an index.

        Args:
            index: a ``faiss.Index``.
            copied: the rows of which a copy is held, ascending; None if there is none.
        """
        self.index = index
        self.count = int(index.ntotal)
        self._storage = storage(index)
        self._rows = np.unique(np.linspace(0, max(self.count - 1, 0), SAMPLED_ROWS).astype(np.int64))
        self._copied: Any = copied
        if copied is not None and len(copied) == self.count:
            self._copied = slice(None)
        faiss = require("faiss", "faiss")
        self._cells: list[tuple[int, int]] = []
        if self.count and isinstance(self._storage, faiss.IndexIVF):
            self._cells = _some_cells(self._storage)
        self._seen = self._sample()

    def holds(self, index: Any) -> bool:
        """Tell whether this is the index and still begins with the same rows; more may have been added."""
        return index is self.index and int(index.ntotal) >= self.count and self._sample() == self._seen

    def _sample(self) -> list[Any]:
        faiss = require("faiss", "faiss")
        if not self.count:
            return []
        if isinstance(self._storage, faiss.IndexIVF):
            cells = self._storage.invlists
            exact = int(self._storage.ntotal) == self.count
            return [_entry(cells, cell, size, exact=exact) for cell, size in self._cells]
        if isinstance(self._storage, faiss.IndexFlatCodes):
            size = int(self._storage.code_size)
            codes = faiss.rev_swig_ptr(self._storage.codes.data(), self.count * size).reshape(self.count, size)
            sample = [codes[self._rows].tobytes()]
            if self._copied is not None:
                kind = np.dtype(np.uint32 if size >= 4 else np.uint8)
                ends = np.ndarray((self.count,), kind, codes, size - kind.itemsize, (size,))
                sample.append(ends[self._copied].tobytes())
            return sample
        try:
            return [self.index.reconstruct(int(row)).tobytes() for row in self._rows[-RECONSTRUCTED_ROWS:]]
        except RuntimeError:
            return []


def _some_cells(index: Any) -> list[tuple[int, int]]:
    """Choose cells that are not empty, and give their sizes."""
    cells = index.invlists
    chosen: list[tuple[int, int]] = []
    for cell in np.random.default_rng(0).permutation(int(index.nlist)).tolist():
        size = int(cells.list_size(cell))
        if size:
            chosen.append((cell, size))
        if len(chosen) == SAMPLED_CELLS:
            break
    return chosen


def _entry(cells: Any, cell: int, size: int, *, exact: bool) -> Any:
    """Read what was the last entry of a cell; ``exact`` if nothing may have been added to it."""
    now = int(cells.list_size(cell))
    if now < size or (exact and now != size):
        return None
    row = int(cells.get_single_id(cell, size - 1))
    # Cells that pack their codes in blocks have no code of a single entry.
    width = int(cells.code_size)
    if not 0 < width < 1 << 31:
        return row
    code = require("faiss", "faiss").rev_swig_ptr(cells.get_single_code(cell, size - 1), width)
    return row, code.tobytes()
