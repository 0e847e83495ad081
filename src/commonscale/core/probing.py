"""Showing what a store says beside the vectors that it holds, for the self-check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.cosines import Converter
from commonscale.core.dense import nearest
from commonscale.core.errors import UnknownScoreKindError
from commonscale.core.types import Probe, Question, Vector


def computed_probes(matrix: Vector, stored: Any, ids: Sequence[str], questions: Vector, k: int) -> list[Probe]:
    """Show the cosines that are computed here from all vectors.

    Args:
        matrix: unit rows (n, d).
        stored: the vectors (n) as stored, of any norm.
        ids: their ids (n).
        questions: unit rows (q, d).
        k: how many hits of each.
    """
    rows, cosines = nearest(matrix, questions, k)
    return [
        Probe([ids[i] for i in best], values, np.array([stored[i] for i in best], np.float32), "cosine")
        for best, values in zip(rows.tolist(), cosines, strict=True)
    ]


def probe_of(source: Any) -> Callable[[Sequence[Question], int], list[Probe]] | None:
    """Give a source's ``probe``, for a source around it to pass on; None if it has none."""
    probe = getattr(source, "probe", None)
    return probe if callable(probe) else None


def no_probes(questions: Any) -> list[Probe]:
    """Show that nothing was found for any question (a sequence)."""
    return [Probe((), np.empty(0), None, "cosine") for _ in questions]


def faiss_probes(
    index: Any,
    found: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]],
    kind: str | Converter | None,
    read: Callable[[npt.NDArray[np.int64]], Vector],
    names: Callable[[Sequence[int]], Sequence[str]],
    *,
    converted: bool,
) -> list[Probe]:
    """Show the numbers of a FAISS index.

    Args:
        index: the ``faiss.Index``.
        found: numbers and rows of each question's hits; row -1 where there is none.
        kind: what the numbers are taken for.
        read: reads the vectors of ascending rows; raises ``UnknownScoreKindError`` if the index cannot give them.
        names: gives the ids of rows.
        converted: whether cosines are made from the numbers.
    """
    rows = np.unique(np.concatenate([row[row >= 0] for _, row in found]))
    try:
        vectors = read(rows)
    except UnknownScoreKindError:
        vectors = None
    lossy = is_lossy(index)
    probes = []
    for numbers, row in found:
        hits = row[row >= 0]
        held = None if vectors is None else vectors[np.searchsorted(rows, hits)]
        values = numbers[row >= 0].astype(np.float64)
        probes.append(Probe(list(names(hits.tolist())), values, held, kind, converted, lossy))
    return probes


def is_lossy(index: Any) -> bool:
    """Tell whether a FAISS index keeps less of its vectors than 32 bits a number."""
    for inner in ("storage", "index", "base_index"):  # graphs, indexes behind a transformation, refined indexes
        if getattr(index, inner, None) is not None:
            return is_lossy(getattr(index, inner))
    size = getattr(index, "code_size", None)
    return size is not None and int(size) < 4 * int(index.d)
