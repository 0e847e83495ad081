from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.duplicates import DistinctCount, count_distinct
from commonscale.core.errors import InvalidInputError

POOL = np.random.default_rng(7).standard_normal((12, 16)).astype(np.float32)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=60), st.integers(1, 7))
def test_counts_what_differs_after_any_additions_and_removals(steps: list[tuple[bool, int]], batch: int) -> None:
    counted = DistinctCount()
    present: list[int] = []
    for start in range(0, len(steps), batch):
        part = steps[start : start + batch]
        coming = [which for comes, which in part if comes]
        going: list[int] = []
        counted.add(POOL[coming])
        present += coming
        for which in [which for comes, which in part if not comes]:
            if which in present:
                present.remove(which)
                going.append(which)
        counted.remove(POOL[going])
        assert counted.count == len(set(present))


@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_only_the_direction_counts(factor: float, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((5, 32))
    assert count_distinct(np.vstack([rows, rows])) == 5
    counted = DistinctCount()
    counted.add(rows.astype(np.float32))
    counted.remove(rows * factor)  # rounded otherwise than what was added
    assert counted.count == 0


def test_copies_rounded_otherwise_are_found_again_wherever_the_edges_of_cells_lie() -> None:
    random = np.random.default_rng(3)
    rows = random.standard_normal((4_000, 24)).astype(np.float32)
    counted = DistinctCount()
    counted.add(rows)
    assert counted.count == 4_000
    moved = rows / np.linalg.norm(rows, axis=1, keepdims=True) + random.uniform(-1e-7, 1e-7, rows.shape)
    counted.remove(moved)
    assert counted.count == 0


@pytest.mark.parametrize("distance", [0.02, 0.1])
def test_similar_vectors_are_different(distance: float) -> None:
    random = np.random.default_rng(4)
    row = random.standard_normal((1, 256))
    row /= np.linalg.norm(row)
    noise = random.standard_normal((2000, 256))
    assert count_distinct(row + distance * noise / np.linalg.norm(noise, axis=1, keepdims=True)) == 2000


def test_opposite_and_permuted_vectors_are_different() -> None:
    row = np.random.default_rng(5).standard_normal(8)
    assert count_distinct([row, -row, row[::-1], np.roll(row, 1)]) == 4


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_works_in_few_dimensions(dimension: int) -> None:
    axes = np.vstack([np.eye(dimension), -np.eye(dimension)])
    assert count_distinct(np.vstack([axes, 2 * axes])) == 2 * dimension


@pytest.mark.parametrize("rows", [[[0.0, 0.0]], [[np.nan, 1.0]], [1.0, 2.0]])
def test_what_has_no_direction_is_refused_and_changes_nothing(rows: npt.ArrayLike) -> None:
    counted = DistinctCount()
    counted.add([[1.0, 0.0]])
    for change in (counted.add, counted.remove):
        with pytest.raises(InvalidInputError, match="vector"):
            change(rows)
    assert counted.count == 1


def test_what_was_not_added_cannot_be_removed_and_nothing_is() -> None:
    counted = DistinctCount()
    counted.add([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(InvalidInputError, match="vector 1 of 2 to remove is not among the 2 different ones"):
        counted.remove([[1.0, 0.0], [1.0, 1.0]])
    with pytest.raises(InvalidInputError, match="vector 1 of 2"):
        counted.remove([[1.0, 0.0], [1.0, 0.0]])
    assert counted.count == 2
    counted.remove(np.empty((0, 2)))
    assert counted.count == 2
