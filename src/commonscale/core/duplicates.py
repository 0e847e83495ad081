"""Counting the different documents of a modality while documents come and go.

The chance level asks how high the best of N irrelevant documents scores. Copies of a document score the same, so they
are one chance, not several: N counts what differs.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats

CELL = 1e-3
"""Width of the cells of the directions. Projections of a unit vector have about unit variance, so that copies (apart by
at most the rounding of float32, 1e-7) share all cells but once in a thousand times, and vectors that are 0.01 apart
share all eight with a probability below 1e-8, unless they have few dimensions."""

_ROUNDING = 1e-2
"""Distance from a cell's edge, in cells, within which rounding may have moved a vector to the next one."""

_FREQUENCIES: Floats = np.sqrt(np.array([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0]))
"""One per direction: cosine waves whose frequencies have no common measure, so no two directions are alike."""

_MULTIPLIERS = np.array(
    [
        0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
        0xFF51AFD7ED558CCD, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3,
    ],
    dtype=np.uint64,
)  # fmt: skip
"""Odd numbers without pattern. A document's key is the sum of its cells times these, modulo 2**64: of a million
different documents two share a key with a probability of 3e-8."""


class DistinctCount:
    """Counts different directions among vectors, exactly but for collisions that are rarer than 1e-7.

    Vectors are the same if they have the same direction up to the rounding of float32; merely similar ones (other
    wordings, pictures saved again) are different. Adding and removing cost one product with eight directions and one
    look-up per vector; about 100 bytes are kept for each different vector. The order of additions does not matter.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._copies: Counter[int] = Counter()

    @property
    def count(self) -> int:
        """How many vectors differ."""
        return len(self._copies)

    def add(self, vectors: npt.ArrayLike) -> None:
        """Take in vectors.

        Args:
            vectors: shape (n, d), of any norm.

        Raises:
            InvalidInputError: if they are no matrix, or one has no direction; none is taken in then.
        """
        self._copies.update(_keys(_cells(vectors)).tolist())

    def remove(self, vectors: npt.ArrayLike) -> None:
        """Let go of vectors that were added, as often as they come here.

        They may differ from those added by the rounding of float32, as they do when a store normalizes.

        Args:
            vectors: shape (n, d), of any norm.

        Raises:
            InvalidInputError: if they are no matrix, or one has no direction or was not added; none is let go then.
        """
        cells = _cells(vectors)
        left: Counter[int] = Counter()
        for row, key in enumerate(_keys(cells).tolist()):
            known = next((near for near in _nearby(cells[row], key) if self._copies[near] > left[near]), None)
            if known is None:
                raise InvalidInputError(
                    f"vector {row} of {len(cells)} to remove is not among the {self.count} different ones counted; "
                    f"give it as it was added"
                )
            left[known] += 1
        # Counter.__isub__ would look at every key.
        self._copies.subtract(left)
        for key in left:
            if not self._copies[key]:
                del self._copies[key]

    def state(self) -> npt.NDArray[np.uint64]:
        """Give what is counted, keys and numbers (2, n), for ``from_state``."""
        return np.array([list(self._copies), list(self._copies.values())], dtype=np.uint64)

    @classmethod
    def from_state(cls, state: npt.NDArray[np.uint64]) -> DistinctCount:
        """Go on from a ``state``."""
        made = cls()
        made._copies.update(dict(zip(state[0].tolist(), state[1].tolist(), strict=True)))
        return made


def count_distinct(vectors: npt.ArrayLike) -> int:
    """Count the different directions among vectors (n, d); see ``DistinctCount``."""
    counted = DistinctCount()
    counted.add(vectors)
    return counted.count


def _cells(vectors: npt.ArrayLike) -> Floats:
    """Give the places of vectors (n, d) along eight fixed directions (n, 8), in cells."""
    rows = unit_rows(vectors)
    places: Floats = rows.astype(np.float64) @ _waves(rows.shape[1])
    return places


@functools.lru_cache(maxsize=8)
def _waves(dimension: int) -> Floats:
    waves: Floats = np.cos(np.outer(np.arange(dimension) + 0.5, _FREQUENCIES)) * (np.sqrt(2.0) / CELL)
    waves.setflags(write=False)
    return waves


def _keys(cells: Floats) -> npt.NDArray[np.uint64]:
    whole = np.floor(cells).astype(np.int64).view(np.uint64)
    found: npt.NDArray[np.uint64] = (whole * _MULTIPLIERS).sum(axis=-1, dtype=np.uint64)
    return found


def _nearby(cells: Floats, key: int) -> Iterator[int]:
    """Give the key of a vector's cells (8,), then those of cells into which rounding may have moved it."""
    yield key
    beyond = cells - np.floor(cells)
    steps = [(0, -1) if part < _ROUNDING else (0, 1) if part > 1 - _ROUNDING else (0,) for part in beyond.tolist()]
    for step in itertools.islice(itertools.product(*steps), 1, None):
        yield int(_keys(cells + np.array(step)))
