from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import ModalityStatistics
from commonscale.core.errors import InvalidInputError

cosines = st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=40)


def same(a: ModalityStatistics, b: ModalityStatistics) -> None:
    assert a.count == b.count
    assert a.mean == pytest.approx(b.mean, abs=1e-12)
    # The square root of a variance near zero keeps only half of the digits.
    assert a.std**2 == pytest.approx(b.std**2, abs=1e-12)


def test_mean_and_population_std_of_known_numbers() -> None:
    statistics = ModalityStatistics.fit([0.1, 0.2, 0.3, 0.4])
    assert statistics.mean == pytest.approx(0.25)
    assert statistics.std == pytest.approx(np.sqrt(0.0125))  # ddof 0: the squares' sum 0.05 over 4
    assert statistics.count == 4
    assert statistics.standard_error == pytest.approx(np.sqrt(0.0125) / 2)


@given(cosines, cosines)
def test_merging_equals_one_pass(a: list[float], b: list[float]) -> None:
    same(ModalityStatistics.fit(a).merge(ModalityStatistics.fit(b)), ModalityStatistics.fit(a + b))


@given(cosines)
def test_running_update_equals_one_pass(values: list[float]) -> None:
    running = ModalityStatistics.fit(values[:1])
    for value in values[1:]:
        running = running.partial_fit([value])
    same(running, ModalityStatistics.fit(values))


def test_updating_with_nothing_changes_nothing_and_never_the_object() -> None:
    statistics = ModalityStatistics.fit([0.1, 0.5])
    assert statistics.partial_fit([]) is statistics
    assert statistics.partial_fit([0.9]).count == 3
    assert statistics.count == 2


def test_one_cosine_has_no_spread_and_divides_by_one() -> None:
    statistics = ModalityStatistics.fit([0.3])
    assert (statistics.mean, statistics.std, statistics.count, statistics.scale) == (0.3, 0.0, 1, 1.0)


def test_spread_below_float32_resolution_divides_by_one() -> None:
    assert ModalityStatistics.fit(np.float32(0.1) + np.array([0, 1e-9])).scale == 1.0
    assert ModalityStatistics.fit([0.1, 0.1001]).scale == pytest.approx(5e-5)


def test_no_cosines() -> None:
    with pytest.raises(InvalidInputError, match="at least one cosine, got none"):
        ModalityStatistics.fit([])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_cosines_that_are_not_finite_are_named_with_their_position(bad: float) -> None:
    with pytest.raises(
        InvalidInputError, match=r"1 of 3 cosines are not finite, the first is (nan|-?inf) at position 1"
    ):
        ModalityStatistics.fit([0.1, bad, 0.2])


def test_wrong_shape() -> None:
    with pytest.raises(InvalidInputError, match=r"shape \(n,\), got \(2, 2\)"):
        ModalityStatistics.fit([[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize(("mean", "std", "count"), [(np.nan, 0.1, 1), (0.1, -0.1, 1), (0.1, np.inf, 1), (0.1, 0.1, 0)])
def test_impossible_statistics(mean: float, std: float, count: int) -> None:
    with pytest.raises(InvalidInputError, match="finite mean"):
        ModalityStatistics(mean, std, count)
