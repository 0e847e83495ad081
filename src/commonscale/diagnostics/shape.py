"""The shape of one modality's scores, in one pass over blocks of questions: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from commonscale.core.types import Floats, Vector
from commonscale.diagnostics.histogram import Histogram

HUB_DEPTH = 10
"""The k of the k-occurrence."""

CELLS = 1 << 22
"""Most scores held at once (32 MB)."""

SMALLEST_SPREAD = 1e-7
"""Scores that vary less are equal, but for the rounding of float32; they have no shape."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreShape:
    """How the scores of questions with all documents of a modality are distributed.

    Attributes:
        mean: over all pairs.
        std: standard deviation over the documents, taken for each question and averaged.
        skewness: taken for each question and averaged; None if no question's scores vary.
        histogram: of all pairs.
        occurrences: for each document (n,), how many questions have it among their ``HUB_DEPTH`` best.
        best: highest score of each question (q,).
    """

    mean: float
    std: float
    skewness: float | None
    histogram: Histogram
    occurrences: npt.NDArray[np.int64]
    best: Floats

    def mapped(self, location: float, scale: float) -> ScoreShape:
        """Give the shape of ``(score - location) / scale``: only places and widths change, not order and skewness."""
        return replace(
            self,
            mean=(self.mean - location) / scale,
            std=self.std / scale,
            histogram=self.histogram.mapped(location, scale),
            best=(self.best - location) / scale,
        )

    @property
    def hubness(self) -> float | None:
        """Skewness of the k-occurrence over all documents, those that never occur included.

        High values mean that a few documents, hubs, answer many questions (Radovanovic et al. 2010). None if all
        occur equally often, as where there are not more than ``HUB_DEPTH``.
        """
        value = float(skewness(self.occurrences[None].astype(np.float64))[0])
        return value if np.isfinite(value) else None

    @property
    def never(self) -> float:
        """Share of the documents that are among the best of no question."""
        return float((self.occurrences == 0).mean())


def measure_shape(questions: Vector, documents: Vector, edges: Floats, minus: Floats | None = None) -> ScoreShape:
    """Measure the scores of all questions with all documents of a modality.

    Args:
        questions: unit vectors (q, d), q >= 1.
        documents: unit vectors (n, d), n >= 1.
        edges: borders of the histogram's bins, equally wide.
        minus: what is subtracted from every document's scores (n,), such as its hub score; None for nothing.
    """
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    occurrences = np.zeros(len(documents), dtype=np.int64)
    best, means, stds, skews = (np.empty(len(questions)) for _ in range(4))
    depth = min(HUB_DEPTH, len(documents))
    for some in _blocks(len(questions), len(documents)):
        scores = (questions[some] @ documents.T).astype(np.float64)
        if minus is not None:
            scores -= minus
        counts += Histogram.gather([scores], edges).counts
        best[some], means[some], stds[some] = scores.max(axis=1), scores.mean(axis=1), scores.std(axis=1)
        skews[some] = skewness(scores)
        nearest = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        occurrences += np.bincount(nearest.ravel(), minlength=len(documents))
    shaped = skews[np.isfinite(skews)]
    return ScoreShape(
        float(means.mean()),
        float(stds.mean()),
        float(shaped.mean()) if shaped.size else None,
        Histogram(edges, counts),
        occurrences,
        best,
    )


def skewness(values: Floats) -> Floats:
    """Compute the Fisher-Pearson skewness ``m3 / m2^1.5`` of every row (``scipy.stats.skew`` with ``bias=True``).

    Args:
        values: shape (r, n), n >= 1.

    Returns:
        Skewness (r,), NaN for rows whose values do not vary.
    """
    off = values - values.mean(axis=1, keepdims=True)
    square = off * off
    second = square.mean(axis=1)
    third = np.einsum("rn,rn->r", square, off) / values.shape[1]
    flat = second <= SMALLEST_SPREAD**2
    return np.where(flat, np.nan, third / np.where(flat, 1.0, second) ** 1.5)


def _blocks(questions: int, documents: int) -> Iterator[slice]:
    step = max(1, CELLS // documents)
    return (slice(start, min(start + step, questions)) for start in range(0, questions, step))
