"""Unit vectors: checked and normalized before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Vector


def document_rows(vectors: npt.ArrayLike, dimension: int, ids: Sequence[str]) -> Vector:
    """Check vectors and scale them to norm 1, so that inner products are cosines.

    Scaling rather than refusing: encoders return raw features as often as unit vectors, half precision is off
    by 1e-3, and the cosine is the same either way. What was read back from an index is stored again bit for bit.
    The caller's array stays as it is.

    Args:
        vectors: shape (n, dimension), any real dtype.
        dimension: the length that is needed.
        ids: the documents that the rows belong to; length n.

    Returns:
        A new array (n, dimension), float32, contiguous.

    Raises:
        InvalidInputError: if the shape is wrong, or a row is null or not finite.
    """
    try:
        single = isinstance(vectors, np.ndarray) and vectors.dtype == np.float32
        rows = np.asarray(vectors, dtype=np.float32 if single else np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"vectors must be an array of numbers of shape (n, {dimension}): {error}") from error
    if rows.size == 0 and not ids:
        return np.empty((0, dimension), dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise InvalidInputError(
            f"vectors have shape {rows.shape}; this index holds vectors of dimension {dimension}, one row per "
            f"document: use the encoder that the index was made with"
        )
    if len(rows) != len(ids):
        raise InvalidInputError(f"{len(ids)} documents come with {len(rows)} vectors; give one row for each")
    largest = np.abs(rows).max(axis=1)
    good = np.isfinite(largest) & (largest > 0.0)
    if not good.all():
        first = int(np.argmin(good))
        problem = "null" if largest[first] == 0.0 else "not finite"
        raise InvalidInputError(
            f"the vector of document {ids[first]!r} (row {first}) is {problem}: it has no direction, so no cosine; "
            f"leave it out or embed it again"
        )
    # Squares of any float32 are in range of float64, those of huge and tiny doubles are not.
    return unit_rows(rows if single else rows / largest[:, None])
