"""Reading vectors back from a FAISS index."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import UnknownScoreKindError
from commonscale.core.extras import require
from commonscale.core.faiss_layers import layers
from commonscale.core.types import Vector

Rows: TypeAlias = npt.NDArray[np.int64]
"""Row numbers of an index, ascending."""

_CHUNK = 65536


def metric_kind(index: Any) -> str | None:
    """Name the score kind of the index's metric; None for metrics that are no function of the cosine."""
    faiss = require("faiss", "faiss")
    kinds = {faiss.METRIC_INNER_PRODUCT: "inner_product", faiss.METRIC_L2: "squared_l2"}
    return kinds.get(index.metric_type)


def block_of(index: Any, rows: Rows) -> Vector:
    """Read vectors of rows that lie close together.

    Raises:
        UnknownScoreKindError: if the index cannot give them.
    """
    if len(rows) == 0:
        return np.empty((0, int(index.d)), np.float32)
    _check_readable(index, int(rows[0]))
    first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
    # The rows between come along: inverted lists give single vectors only if they were asked to beforehand.
    vectors: Vector = index.reconstruct_n(first, count)[rows - first]
    return vectors


def hits_of(index: Any, rows: Rows) -> Vector:
    """Read the vectors of a few rows, wherever they are; raises as ``block_of``."""
    if not _has_cells(index) and len(rows):
        _check_readable(index, int(rows[0]))
        return np.stack([index.reconstruct(int(row)) for row in rows])
    chunks = np.split(rows, np.flatnonzero(np.diff(rows // _CHUNK)) + 1)
    return np.concatenate([block_of(index, chunk) for chunk in chunks])


def norms_within(index: Any, rows: Rows, tolerance: float) -> bool:
    """Tell whether all norms are that close to 1; raises as ``block_of``."""
    for start in range(0, len(rows), _CHUNK):
        vectors = block_of(index, rows[start : start + _CHUNK])
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        if not (np.abs(norms - 1.0) <= tolerance).all():
            return False
    return True


def _has_cells(index: Any) -> bool:
    faiss = require("faiss", "faiss")
    inner = layers(index)
    return isinstance(inner[-1], faiss.IndexIVF) and not any(isinstance(layer, faiss.IndexRefine) for layer in inner)


def _check_readable(index: Any, row: int) -> None:
    """Refuse an index that cannot give its vectors back, before FAISS aborts the process over it.

    ``reconstruct_n`` of most indexes throws from within a parallel loop, which no caller can catch;
    ``reconstruct`` of one vector throws where it can be caught, and so does ``reconstruct_n`` of inverted lists.
    """
    faiss = require("faiss", "faiss")
    reason = "its rows have numbers of their own" if isinstance(index, faiss.IndexIDMap) else ""
    if not reason:
        try:
            if _has_cells(index):
                index.reconstruct_n(row, 1)
            else:
                index.reconstruct(row)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
    if reason:
        raise UnknownScoreKindError(
            f"{type(index).__name__} cannot give its vectors back ({reason}), so it is not known whether they have "
            f"norm 1 and what the scores mean; if they have, say so with score_kind={metric_kind(index)!r}"
        )
