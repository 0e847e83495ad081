"""Quantile matching: hits rank by the share of banked questions whose best hit scores lower."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from commonscale.core.statistics import SMALLEST_STD
from commonscale.core.types import Floats, Modality, Ranking
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.methods.retrieved import rank_retrieved

TAIL = 0.1
"""Share of the sample at each end that is replaced by a fitted tail."""

_INNER = np.linspace(TAIL, 1.0 - TAIL, 81)


@dataclass(frozen=True, slots=True, eq=False)
class QuantileScale:
    """The distribution function F of a modality's best cosines, continued beyond the sample.

    Between the 10% and the 90% quantile of the sample, F is linear between its percentiles. Beyond them it has
    exponential tails, ``0.1 exp(-t / b)`` with t the distance from the quantile and b the mean of that distance in the
    sample (the maximum likelihood fit). So F never reaches 0 or 1: most hits of a list lie below every best hit,
    where the share itself would be 0 for all.

    Attributes:
        quantiles: the 10%, 11%, ... 90% quantiles (81,).
        below: b of the lower tail.
        above: b of the upper tail.
    """

    quantiles: Floats
    below: float
    above: float

    @classmethod
    def fit(cls, sample: Floats) -> QuantileScale:
        """Fit to a sample.

        Args:
            sample: the best cosine of each banked question (C,), C >= 1.

        Returns:
            The scale; a tail without spread has b = 1, so that it only shifts.
        """
        quantiles = np.quantile(sample, _INNER)
        low, high = quantiles[0], quantiles[-1]
        return cls(quantiles, _mean_excess(low - sample), _mean_excess(sample - high))

    def logit(self, cosines: Floats) -> Floats:
        """Give ``log F - log(1 - F)``, which increases with F and does not saturate.

        Args:
            cosines: any shape.

        Returns:
            Same shape; 0 at the median of the sample.
        """
        low, high = self.quantiles[0], self.quantiles[-1]
        inner = np.interp(cosines, self.quantiles, _INNER)
        under = _tail((low - cosines) / self.below)
        over = -_tail((cosines - high) / self.above)
        between = np.log(inner) - np.log1p(-inner)
        return np.where(cosines < low, under, np.where(cosines > high, over, between))


def quantile(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank by the quantile of a cosine among the best cosines of the banked questions; see ``QuantileScale``."""

    def rescale(modality: Modality, cosines: Floats) -> Floats:
        _, best = benchmark.sources[modality].nearest(benchmark.bank, 1)
        return QuantileScale.fit(best[:, 0]).logit(cosines)

    return rank_retrieved(benchmark, depth, rescale)


def _tail(distances: Floats) -> Floats:
    """Give the logit of ``0.1 exp(-distance)``; the other side of the quantile is not meant, and taken for its edge."""
    log_share = math.log(TAIL) - np.maximum(distances, 0.0)
    return log_share - np.log1p(-np.exp(log_share))


def _mean_excess(distances: Floats) -> float:
    beyond = distances[distances > 0]
    mean = float(beyond.mean()) if beyond.size else 0.0
    return mean if mean > SMALLEST_STD else 1.0
