"""The two-sample test of Kolmogorov and Smirnov: did two sets of numbers come from one distribution?"""

from __future__ import annotations

import functools
import math

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats

_RESCALE = 1e250
"""Counts of paths are divided down beyond this; float64 ends at 1.8e308, and one row multiplies by at most m + 1."""


def ks_statistic(first: Floats, second: Floats) -> float:
    """Give the largest difference between two empirical distribution functions.

    ``D = sup_x |F_n(x) - G_m(x)|`` (Smirnov 1939).

    Args:
        first: shape (n,), finite, at least one.
        second: shape (m,), finite, at least one.

    Returns:
        A value in [0, 1]: 0 for equal sets, 1 for sets that do not overlap.

    Raises:
        InvalidInputError: if one is empty.
    """
    if not len(first) or not len(second):
        raise InvalidInputError(
            f"two samples are compared, got {len(first)} and {len(second)} values; give some of both"
        )
    a, b = np.sort(first), np.sort(second)
    both = np.concatenate([a, b])
    below = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    return float(np.abs(below).max())


def ks_probability(statistic: float, n: int, m: int) -> float:
    """Give the exact probability of a statistic at least this large if both samples have one continuous distribution.

    Each order of the n + m values is a path from (0, 0) to (n, m), all equally likely; counted are the paths that
    stay where ``|i / n - j / m| < statistic`` (Hodges 1958, "The significance probability of the Smirnov two-sample
    test", Arkiv för Matematik 3, the inside method). With ties it is too large, never too small: the test then
    raises fewer false alarms. Costs n m additions.

    Args:
        statistic: as ``ks_statistic`` gives it.
        n: size of one sample, at least 1.
        m: size of the other, at least 1.

    Returns:
        The p-value, in [0, 1]; exact to about 1e-12, so that much smaller ones read as 0.
    """
    # In whole numbers: differences are multiples of 1 / lcm, so that rounding decides nothing.
    steps = round(statistic * math.lcm(n, m))
    return 1.0 if steps <= 0 else _probability(steps, min(n, m), max(n, m))


# Windows of one length meet the same few differences again and again.
@functools.lru_cache(maxsize=4096)
def _probability(steps: int, n: int, m: int) -> float:
    """Give the probability of a difference of ``steps / lcm(n, m)`` or more; one row of numbers for each of the n."""
    common = math.lcm(n, m)
    up, right = common // n, common // m
    # Row i holds the number of paths to (i, j), which come from (i, j - 1) or (i - 1, j).
    places = np.arange(m + 1) * right
    paths = np.where(places < steps, 1.0, 0.0)
    scale = 0.0
    for i in range(1, n + 1):
        low = int(np.searchsorted(places, i * up - steps, side="right"))
        high = int(np.searchsorted(places, i * up + steps, side="left"))
        row = np.zeros(m + 1)
        row[low:high] = np.cumsum(paths[low:high])
        paths = row
        largest = float(paths.max())
        if largest > _RESCALE:
            paths /= largest
            scale += math.log(largest)
    inside = float(paths[m])
    if inside <= 0.0:
        return 1.0
    orders = math.lgamma(n + m + 1) - math.lgamma(n + 1) - math.lgamma(m + 1)
    return min(1.0, max(0.0, -math.expm1(math.log(inside) + scale - orders)))
