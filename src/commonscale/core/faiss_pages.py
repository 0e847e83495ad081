"""Reading all, or any, rows of a FAISS index, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core.errors import UnknownScoreKindError, UnreadableVectorsError
from commonscale.core.faiss_vectors import Rows, block_of, hits_of
from commonscale.core.types import Vector

if TYPE_CHECKING:
    from commonscale.core.faiss_cosines import FaissCosines

_SPREAD = 4
"""Rows are read as one block if no more than this many times as many lie between the first and the last."""


def row_pages(cosines: FaissCosines, size: int) -> Iterator[Rows]:
    """Give the rows that are searched, ascending, ``size`` at a time."""
    if cosines.rows is not None:
        yield from (cosines.rows[start : start + size] for start in range(0, len(cosines.rows), size))
        return
    for start in range(0, cosines.count, size):
        yield np.arange(start, min(start + size, cosines.count))


def stored_rows(index: Any, rows: Rows) -> Vector:
    """Read the vectors of rows, as the index gives them: decoded if it compresses them.

    Args:
        index: a ``faiss.Index``.
        rows: row numbers (n,), in any order.

    Returns:
        Shape (n, d).

    Raises:
        UnreadableVectorsError: if the index cannot give its vectors back.
    """
    ascending, places = np.unique(rows, return_inverse=True)
    try:
        dense = len(ascending) > 0 and int(ascending[-1] - ascending[0]) < _SPREAD * len(ascending)
        vectors = block_of(index, ascending) if dense or not len(ascending) else hits_of(index, ascending)
    except UnknownScoreKindError as error:
        raise UnreadableVectorsError(
            f"the {type(index).__name__} does not give back the vectors that it was given "
            f"({error.__cause__ or error}); keep them in an index that does, or use a method that needs no vectors "
            f"(method='standardized')"
        ) from error
    read: Vector = vectors[places]
    return read
