"""Differences between two methods on the same questions, with their paired bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commonscale.core.types import Floats
from commonscale.evaluation.bootstrap import FEWEST, interval, resampled_means


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
        few: whether there are too few questions for an interval (see ``FEWEST``); its ends are then the least and the
            largest of what was averaged.
    """

    value: float
    low: float
    high: float
    few: bool = False

    @property
    def sure(self) -> bool:
        """Whether there is an interval and it leaves out 0."""
        return not self.few and (self.low > 0 or self.high < 0)


def mean_interval(differences: Floats) -> Estimate:
    """Give the mean of paired differences, one per question (n,), n >= 1; see ``mean_intervals``."""
    return mean_intervals(differences[:, None])[0]


def mean_intervals(differences: Floats) -> list[Estimate]:
    """Give the means of paired differences, with 95% percentile intervals of a bootstrap over the questions.

    Args:
        differences: one row per question (n, m), n >= 1; one column per figure, all over the same resamples.

    Returns:
        One estimate per column.
    """
    means = differences.mean(axis=0)
    found = (
        resampled_means({"": np.arange(len(differences))}, {"": differences})[""]
        if len(differences) >= FEWEST
        else None
    )
    estimates = []
    for at, value in enumerate(means.tolist()):
        ends = interval(value, None if found is None else found[:, at])
        if ends.low is None or ends.high is None:
            column = differences[:, at]
            estimates.append(Estimate(value, float(column.min()), float(column.max()), few=True))
        else:
            estimates.append(Estimate(value, ends.low, ends.high))
    return estimates
