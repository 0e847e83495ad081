"""Scores against all documents of a modality: how far a hit stands out of what the question finds by chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from commonscale.core.dense import BLOCK
from commonscale.core.extras import require
from commonscale.core.statistics import SMALLEST_STD
from commonscale.core.types import Floats, Modality, Ranking, Vector
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.methods.retrieved import rank_retrieved


@dataclass(frozen=True, slots=True, eq=False)
class DocumentMoments:
    """Mean and covariance of a modality's document vectors.

    They give mean and standard deviation of a question's cosines with *all* documents in closed form:
    ``mean = q.mu`` and ``std = sqrt(q' C q)``, for any question, with no search and no bank of questions. (The
    per-query normalization of speaker verification, with the whole index as its cohort.)

    Attributes:
        mean: shape (d,).
        covariance: of the population (divided by n), shape (d, d).
        count: documents, at least 1.
    """

    mean: Floats
    covariance: Floats
    count: int

    @classmethod
    def fit(cls, vectors: Vector) -> DocumentMoments:
        """Compute them in two passes of bounded memory.

        Args:
            vectors: shape (n, d), n >= 1.
        """
        count, dimension = vectors.shape
        mean = vectors.mean(axis=0, dtype=np.float64)
        squares = np.zeros((dimension, dimension))
        step = max(1, BLOCK // dimension)
        for start in range(0, count, step):
            centered = vectors[start : start + step] - mean
            squares += centered.T @ centered
        return cls(mean, squares / count, count)

    def standardize(self, questions: Vector, cosines: Floats) -> Floats:
        """Give standard deviations above the mean cosine of the question with all documents.

        Args:
            questions: unit vectors (Q, d).
            cosines: shape (Q, n).

        Returns:
            Shape (Q, n). Where a question's cosines do not vary (there is one document), the difference to their mean.
        """
        asked = questions.astype(np.float64)
        variance = ((asked @ self.covariance) * asked).sum(axis=1)
        std = np.sqrt(np.maximum(variance, 0.0))  # rounding may leave a null variance below 0
        scale = np.where(std > SMALLEST_STD, std, 1.0)
        return (cosines - (asked @ self.mean)[:, None]) / scale[:, None]


def background(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank by ``(s - q.mu) / sqrt(q' C q)``, with mean and covariance of all documents of the hit's modality."""
    return _rank(benchmark, depth, lambda z, _: z)


def gumbel(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank by how unlikely it is that the best of N documents scores as high by chance; see ``surprise``."""
    return _rank(benchmark, depth, surprise)


def surprise(z: Floats, count: int) -> Floats:
    """Give ``-log(N (1 - F(z)))``, with F the normal distribution function.

    With a background of N documents whose scores are normal, the best of them reaches z with probability
    ``p = 1 - exp(-N (1 - F(z)))`` (the Poisson limit of ``1 - F(z)^N``, which extreme value theory turns into Gumbel's
    law). p decreases as this score grows, for all modalities alike, so that ranking by one is ranking by the other;
    but p itself is 0 or 1 to double precision for most hits.

    Args:
        z: standard deviations above the background's mean, any shape.
        count: N, at least 1.

    Returns:
        Same shape; 0 where one document is expected to score as high by chance.
    """
    log_survival: Floats = require("scipy.special", "cli").log_ndtr(-z)
    return -(math.log(count) + log_survival)


def _rank(benchmark: Benchmark, depth: int, score: Callable[[Floats, int], Floats]) -> list[Ranking]:
    def rescale(modality: Modality, cosines: Floats) -> Floats:
        moments = DocumentMoments.fit(benchmark.documents[modality])
        return score(moments.standardize(benchmark.questions, cosines), moments.count)

    return rank_retrieved(benchmark, depth, rescale)
