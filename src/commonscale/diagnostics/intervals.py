"""Paired bootstrap intervals: how sure a difference between two methods is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commonscale.core.types import Floats
from commonscale.diagnostics.draws import generator

DRAWS = 2000
_CELLS = 1 << 22


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def mean_interval(differences: Floats, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Give the mean of paired differences, with the percentile interval of a bootstrap over the questions.

    Args:
        differences: one per question (n,), n >= 1. One question alone gives an interval without width, which says
            nothing.
        level: how much of the bootstrap distribution the interval covers.
        draws: how many resamples.
        seed: of the resamples.
    """
    draw = generator(seed, "intervals")
    count = len(differences)
    means = np.empty(draws)
    step = max(1, _CELLS // count)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        means[start : start + size] = differences[draw.integers(0, count, (size, count))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(differences.mean()), float(low), float(high))
