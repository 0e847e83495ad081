"""Our paired bootstrap against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from commonscale.evaluation.bootstrap import interval, resampled_means


def paired(seed, count):
    """Reciprocal ranks of two methods over the same questions."""
    rng = np.random.default_rng(seed)
    ranks = rng.geometric(0.2, size=count)
    moved = np.maximum(1, ranks + rng.integers(-2, 2, size=count))
    return np.where(ranks <= 20, 1 / ranks, 0.0), np.where(moved <= 20, 1 / moved, 0.0)


def ours(questions, statistic, *columns):
    means = resampled_means({"text": questions}, {"text": np.stack(columns, axis=1)})["text"]
    return interval(statistic(*(column.mean() for column in columns)), statistic(*means.T))


@pytest.mark.parametrize("count", [30, 200, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_differences_of_means(seed, count):
    first, second = paired(seed, count)
    found = ours(np.arange(count), lambda a, b: a - b, first, second)
    theirs = stats.bootstrap(
        (first - second,), np.mean, n_resamples=10_000, method="percentile", random_state=np.random.default_rng(seed)
    )
    width = found.high - found.low
    assert found.value == pytest.approx(float((first - second).mean()))
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
    # The bias-corrected and accelerated interval, where the bootstrap is usually refined, says the same.
    refined = stats.bootstrap((first - second,), np.mean, n_resamples=10_000, random_state=np.random.default_rng(seed))
    assert found.low == pytest.approx(refined.confidence_interval.low, abs=0.15 * width)
    assert found.high == pytest.approx(refined.confidence_interval.high, abs=0.15 * width)


def test_ratios_of_means():
    first, second = paired(2, 400)
    found = ours(np.arange(400), lambda a, b: a / b, first, second)
    theirs = stats.bootstrap(
        (first, second),
        lambda a, b, axis=-1: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        n_resamples=10_000,
        method="percentile",
        random_state=np.random.default_rng(2),
    )
    width = found.high - found.low
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
