from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.errors import InvalidInputError
from commonscale.core.reservoir import Reservoir


def kept(reservoir: Reservoir, batches: list[int]) -> list[int]:
    """The numbers of the items that are in the reservoir after offering batches of the stream 0, 1, 2, ..."""
    slots: dict[int, int] = {}
    start = 0
    for count in batches:
        slots |= {slot: start + item for slot, item in reservoir.offer(count).items()}
        start += count
    return [slots[slot] for slot in range(reservoir.size)]


@given(st.integers(1, 8), st.lists(st.integers(0, 9), max_size=6), st.integers(0, 5))
def test_a_sample_of_different_items_of_the_size_that_fits(capacity: int, batches: list[int], seed: int) -> None:
    reservoir = Reservoir(capacity, seed=seed)
    held = kept(reservoir, batches)
    assert len(set(held)) == len(held) == min(capacity, sum(batches))
    assert all(0 <= item < sum(batches) for item in held)
    assert reservoir.seen == sum(batches)


def test_batches_draw_as_single_items_do() -> None:
    for half_life in (None, 20.0):
        whole, parts = (Reservoir(5, half_life=half_life, seed=3) for _ in range(2))
        assert kept(whole, [40]) == kept(parts, [1] * 7 + [13, 20])


def test_every_item_is_kept_equally_often() -> None:
    counts = np.zeros(20)
    for seed in range(3000):
        counts[kept(Reservoir(5, seed=seed), [20])] += 1
    # Each count is binomial(3000, 1/4) with a standard deviation of 23.7; 4.5 of them for 20 counts.
    assert np.abs(counts - 750).max() < 107


def test_with_a_half_life_items_are_forgotten_by_halves() -> None:
    counts = np.zeros(121)
    for seed in range(3000):
        counts[kept(Reservoir(10, half_life=30, seed=seed), [121])] += 1
    ages = 120 - np.arange(10, 121)
    # While the reservoir is full an item enters with probability 10 (1 - 2^(-1/30)) and halves every 30 newcomers.
    expected = 3000 * 10 * (1 - 2 ** (-1 / 30)) * 0.5 ** (ages / 30)
    assert np.abs((counts[10:] - expected) / np.sqrt(expected)).max() < 4.5
    # Those that filled it entered for certain.
    assert abs(counts[:10].mean() / 3000 - 0.5 ** (111 / 30)) < 0.01


def test_state_goes_through_json_and_goes_on_with_the_same_draws() -> None:
    for half_life in (None, 9.0):
        first = Reservoir(4, half_life=half_life, seed=7)
        first.offer(25)
        second = Reservoir.from_state(json.loads(json.dumps(first.state())))
        assert [first.offer(11) for _ in range(5)] == [second.offer(11) for _ in range(5)]
        assert first.state() == second.state()


def test_settings_that_cannot_be_used() -> None:
    for capacity in (0, 2.5, True, "4"):
        with pytest.raises(InvalidInputError, match=f"integer capacity of at least 1, got {capacity!r}"):
            Reservoir(capacity)  # type: ignore[arg-type]
    for half_life in (0, -1.0, float("nan"), True, "long"):
        with pytest.raises(InvalidInputError, match="number of questions above 0"):
            Reservoir(4, half_life=half_life)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"a bank of 100 cannot forget .* has a half-life of 69\.0"):
        Reservoir(100, half_life=50)
    assert Reservoir(100, half_life=70).half_life == 70


def test_damaged_states_are_refused() -> None:
    state = Reservoir(4).state()
    with pytest.raises(InvalidInputError, match="5 slots cannot be taken"):
        Reservoir.from_state(state | {"size": 5, "seen": 9})
    with pytest.raises(KeyError):
        Reservoir.from_state({"capacity": 4})
