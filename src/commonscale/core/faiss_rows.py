"""What may be done to single rows of a FAISS index: telling whether one has changed, and whether one can be removed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.extras import require
from commonscale.core.types import Vector

SAME = 1e-4
"""How far below 1 the cosine of two decoded vectors may lie for the two to be the same: a model does not give every
vector bit for bit again in another batch, and a code moves by a step then."""


def removes_in_order(index: Any) -> bool:
    """Tell whether the index closes the gap of a removed row, so that later rows move up.

    Flat indexes and flat codes do. An inverted file keeps the numbers of the other rows, and a graph cannot remove
    any, so that stores that number rows from 0 lose track of the one and fail with the other.
    """
    faiss = require("faiss", "faiss")
    return isinstance(faiss.downcast_index(index), faiss.IndexFlatCodes)


def unchanged(index: Any, rows: npt.ArrayLike, vectors: Vector) -> npt.NDArray[np.bool_]:
    """Tell which rows hold these vectors already.

    Args:
        index: a ``faiss.Index``.
        rows: row numbers (n,).
        vectors: unit vectors (n, d).

    Returns:
        Shape (n,); False throughout for an index that cannot give its vectors back.
    """
    numbers = np.asarray(rows, dtype=np.int64)
    same = np.zeros(len(numbers), dtype=bool)
    expected = _coded(index, vectors)
    for place, row in enumerate(numbers.tolist()):
        stored = _stored(index, row)
        if stored is None:
            break
        norms = float(np.linalg.norm(stored) * np.linalg.norm(expected[place]))
        same[place] = norms > 0 and float(stored @ expected[place]) / norms > 1.0 - SAME
    return same


def _coded(index: Any, vectors: Vector) -> Any:
    """Give vectors as the index would give them back, for one that compresses."""
    faiss = require("faiss", "faiss")
    coder = faiss.downcast_index(index)
    if isinstance(coder, faiss.IndexHNSW):
        coder = faiss.downcast_index(coder.storage)
    try:
        return coder.sa_decode(coder.sa_encode(np.ascontiguousarray(vectors)))
    except RuntimeError:
        return vectors


def _stored(index: Any, row: int) -> Any:
    faiss = require("faiss", "faiss")
    try:
        # An inverted file gives ranges without a table of rows, which single vectors need; others throw from within a
        # parallel loop, which cannot be caught, if they cannot.
        if isinstance(faiss.downcast_index(index), faiss.IndexIVF):
            return index.reconstruct_n(row, 1)[0]
        return index.reconstruct(row)
    except RuntimeError:
        return None
