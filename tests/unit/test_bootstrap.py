"""Intervals from the paired bootstrap over questions."""

from __future__ import annotations

import numpy as np
import pytest

from commonscale.evaluation import bootstrap
from commonscale.evaluation.bootstrap import FEWEST, RESAMPLES, Interval, interval, resampled_means


def of_one(values):
    """The interval of the mean of one figure."""
    means = resampled_means({"text": np.arange(len(values))}, {"text": values[:, None]})["text"]
    return interval(float(values.mean()), None if means is None else means[:, 0])


@pytest.mark.parametrize(
    ("bounds", "sign"),
    [((0.1, 0.3), 1), ((-0.3, -0.1), -1), ((-0.1, 0.3), 0), ((0.0, 0.2), 0), ((-0.2, 0.0), 0), ((None, None), 0)],
)
def test_nothing_is_decided_unless_the_whole_interval_is_on_one_side(bounds, sign):
    assert Interval(0.2, *bounds).sign == sign


def test_the_interval_holds_95_percent_of_the_resamples():
    found = interval(0.0, np.arange(1001) / 1000)
    assert (found.low, found.high) == (pytest.approx(0.025), pytest.approx(0.975))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_ratio_to_nothing_gives_no_interval(bad):
    assert interval(1.0, np.array([1.0, bad, 2.0])) == Interval(1.0, None, None)


def test_too_few_questions_give_no_interval_and_decide_nothing():
    assert of_one(np.ones(FEWEST - 1)) == Interval(1.0, None, None)
    assert of_one(np.ones(FEWEST)) == Interval(1.0, 1.0, 1.0)


def test_equal_methods_are_never_told_apart():
    found = of_one(np.zeros(100))
    assert (found.low, found.high, found.sign) == (0.0, 0.0, 0)


def test_the_same_questions_give_the_same_intervals():
    values = np.random.default_rng(1).random(50)
    assert of_one(values) == of_one(values)


def test_blocks_bound_the_memory_and_keep_the_number_of_resamples(monkeypatch):
    values = np.random.default_rng(1).random(30)
    whole = of_one(values)
    monkeypatch.setattr(bootstrap, "_BLOCK", 1000)
    parts = of_one(values)
    means = resampled_means({"text": np.arange(30)}, {"text": values[:, None]})["text"]
    assert means.shape == (RESAMPLES, 1)
    # Drawn in another order, so only nearly equal.
    assert (parts.low, parts.high) == (pytest.approx(whole.low, abs=0.01), pytest.approx(whole.high, abs=0.01))


def test_methods_are_resampled_together():
    """One method is the other plus .01: their difference does not vary, however much both do."""
    rng = np.random.default_rng(2)
    first = rng.random(60)
    means = resampled_means({"text": np.arange(60)}, {"text": np.stack([first, first + 0.01], axis=1)})["text"]
    assert means[:, 0].std() > 0.02
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 0.01)


def test_questions_of_both_kinds_are_the_same_ones_in_both():
    values = np.random.default_rng(3).random((50, 1))
    both = resampled_means({"text": np.arange(50), "image": np.arange(50)}, {"text": values, "image": values})
    np.testing.assert_array_equal(both["text"], both["image"])


def test_each_kind_keeps_its_number_of_questions_whatever_is_drawn():
    """30 texts, 40 images, of which 10 are asked for both: a mean of ones stays one in every resample."""
    numbers = {"text": np.arange(0, 30), "image": np.arange(20, 60)}
    ones = {modality: np.ones((len(rows), 1)) for modality, rows in numbers.items()}
    for means in resampled_means(numbers, ones).values():
        np.testing.assert_array_equal(means, 1.0)


def test_the_numbers_of_questions_may_have_gaps():
    values = np.arange(25, dtype=np.float64)[:, None]
    gapped = resampled_means({"text": np.arange(25) * 7 + 3}, {"text": values})
    np.testing.assert_array_equal(gapped["text"], resampled_means({"text": np.arange(25)}, {"text": values})["text"])


def test_intervals_of_95_percent_hold_the_truth_in_95_percent(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(300):
        found = of_one(rng.beta(0.3, 0.5, size=100))
        held += found.low <= 0.3 / 0.8 <= found.high
    # 300 trials of probability .95 lie in [.91, .98] with probability .999.
    assert 0.91 <= held / 300 <= 0.98
