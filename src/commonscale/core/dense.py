"""Exact search over vectors held in memory, for stores that have no search of their own worth calling."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats

BLOCK = 8_388_608
"""Most cosines computed at once (32 MB in float32), so that a batch of questions needs bounded memory."""

UNIT_ROUNDING = 2e-7
"""How far from 1 rounding to float32 leaves the norm of a unit vector, with room to spare (measured: 1.5e-7)."""


def unit_rows(vectors: npt.ArrayLike, what: str = "vector") -> npt.NDArray[np.float32]:
    """Divide every row by its Euclidean norm, taken in float64.

    Float32 rows that have norm 1 already, as far as float32 can hold it, stay as they are, bit for bit: questions
    pass here once per modality, and dividing again would only move their rounding.

    Args:
        vectors: shape (n, d).
        what: what a row is, to name it in the error message.

    Returns:
        Unit rows (n, d), float32, contiguous; a new array.

    Raises:
        InvalidInputError: if the shape is not (n, d), or a row is null or not finite and so has no direction.
    """
    try:
        single = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32
        rows: npt.NDArray[Any] = np.asarray(vectors, dtype=np.float32 if single else np.float64)
    except ValueError as error:
        raise InvalidInputError(f"{what}s do not form a matrix (n, d): {error}; embed all with one model") from error
    if rows.ndim != 2:
        raise InvalidInputError(f"{what}s must have shape (n, d), got {rows.shape}")
    # Casting inside einsum needs no float64 copy of the matrix, whose allocation takes longer than the sums.
    norms: Floats = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.all():
        first = int(np.argmin(usable))
        fault = "null" if norms[first] == 0 else "not finite"
        raise InvalidInputError(
            f"{int((~usable).sum())} of {len(rows)} {what}s have no direction, so no cosine; "
            f"the first is {what} {first} ({fault}); embed it again or leave it out"
        )
    unit = np.array(rows, dtype=np.float32, order="C")
    # Row by row, so that a question comes out the same alone and in a batch.
    scaled = ~(single & (np.abs(norms - 1.0) <= UNIT_ROUNDING))
    if scaled.any():
        unit[scaled] = rows[scaled] / norms[scaled, None]
    return unit


def nearest(
    vectors: npt.NDArray[np.float32], questions: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Find the ``k`` rows with the highest cosine to each question, exactly.

    Args:
        vectors: unit rows (n, d).
        questions: unit rows (q, d).
        k: how many, at least 1.

    Returns:
        Row numbers and cosines, both (q, min(k, n)), best first; equal cosines in the order of the rows.
    """
    count = min(k, len(vectors))
    rows = np.empty((len(questions), count), dtype=np.intp)
    cosines = np.empty((len(questions), count), dtype=np.float64)
    step = max(1, BLOCK // max(1, len(vectors)))
    for start in range(0, len(questions) if count else 0, step):
        block = questions[start : start + step] @ vectors.T
        for index, line in enumerate(block, start):
            rows[index] = best = best_places(line, count)
            cosines[index] = line[best]
    return rows, np.clip(cosines, -1.0, 1.0)


def best_places(line: npt.NDArray[np.floating[Any]], count: int) -> npt.NDArray[np.intp]:
    """Give the places of the ``count`` highest values of ``line`` (n,), best first; equal values in their order.

    Args:
        line: shape (n,), no NaN.
        count: how many, 1 to n.
    """
    if count == len(line):
        return np.argsort(-line, kind="stable")
    # The count-th best value first, then all rows at or above it: a plain argpartition breaks ties at random.
    threshold = np.partition(line, len(line) - count)[len(line) - count]
    contenders = np.flatnonzero(line >= threshold)
    return contenders[np.argsort(-line[contenders], kind="stable")[:count]]
