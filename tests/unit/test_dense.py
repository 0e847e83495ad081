from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core import dense
from commonscale.core.dense import nearest, unit_rows
from commonscale.core.errors import InvalidInputError
from sources import unit_rows as random_rows


@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 40),
    questions=st.integers(1, 5),
    k=st.integers(1, 50),
    levels=st.sampled_from([2, 1000]),
)
def test_nearest_is_a_stable_sort_of_all_cosines(seed: int, rows: int, questions: int, k: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    # Few levels make many equal cosines: ties must go to the earlier row.
    vectors = rng.integers(0, levels, size=(rows, 4)).astype(np.float32) / (4 * levels)
    asked = rng.integers(0, levels, size=(questions, 4)).astype(np.float32) / levels
    found, cosines = nearest(vectors, asked, k)
    every = asked @ vectors.T
    expected = np.argsort(-every, axis=1, kind="stable")[:, :k]
    assert found.tolist() == expected.tolist()
    assert np.array_equal(cosines, np.take_along_axis(every, expected, axis=1).astype(np.float64))


def test_a_large_batch_is_searched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors, asked = random_rows(rng, 50, 8), random_rows(rng, 23, 8)
    at_once = nearest(vectors, asked, 5)
    monkeypatch.setattr(dense, "BLOCK", 120)
    in_blocks = nearest(vectors, asked, 5)
    assert np.array_equal(at_once[0], in_blocks[0])
    assert in_blocks[1] == pytest.approx(at_once[1], abs=1e-6)


def test_nothing_to_search() -> None:
    for vectors, asked in ((np.empty((0, 3)), np.ones((2, 3))), (np.ones((2, 3)), np.empty((0, 3)))):
        rows, cosines = nearest(vectors.astype(np.float32), asked.astype(np.float32), 5)
        assert rows.shape == cosines.shape == (len(asked), min(5, len(vectors)))


def test_unit_rows_keeps_directions_of_extreme_norms() -> None:
    given_rows = np.array([[3e30, 4e30], [3e-30, 4e-30], [3.0, 4.0]], dtype=np.float32)
    assert unit_rows(given_rows) == pytest.approx(np.array([[0.6, 0.8]] * 3), abs=1e-6)
    assert unit_rows(given_rows).dtype == np.float32


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], r"1 of 2 stored vectors have no direction.*stored vector 1 \(null\)"),
        ([[np.nan, 0.0]], r"stored vector 0 \(not finite\)"),
        ([[np.inf, 0.0]], r"stored vector 0 \(not finite\)"),
        ([1.0, 0.0], r"must have shape \(n, d\), got \(2,\)"),
        ([[1.0], [1.0, 0.0]], "do not form a matrix"),
    ],
)
def test_vectors_without_direction(rows: list, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        unit_rows(rows, "stored vector")
