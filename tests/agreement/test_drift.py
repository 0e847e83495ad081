"""The two-sample test against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.two_samples import ks_probability, ks_statistic

stats = pytest.importorskip("scipy.stats", reason="SciPy comes with the extra report")


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 2), st.booleans(), st.integers(0, 10_000))
def test_statistic_and_probability_are_scipys(n: int, m: int, shift: float, tied: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal(n), rng.standard_normal(m) + shift
    if tied:
        first, second = first.round(1), second.round(1)
    theirs = stats.ks_2samp(first, second, method="exact")
    statistic = ks_statistic(first, second)
    assert statistic == pytest.approx(theirs.statistic, abs=1e-12)
    assert ks_probability(statistic, n, m) == pytest.approx(theirs.pvalue, abs=1e-10)


@pytest.mark.parametrize(("n", "m"), [(1000, 50), (1000, 200), (2000, 800), (997, 800)])
@pytest.mark.parametrize("shift", [0.0, 0.2, 0.4])
def test_at_the_sizes_of_windows(n: int, m: int, shift: float) -> None:
    rng = np.random.default_rng(n + m)
    first, second = rng.standard_normal(n), rng.standard_normal(m) + shift
    theirs = stats.ks_2samp(first, second, method="exact")
    assert ks_probability(ks_statistic(first, second), n, m) == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-11)
