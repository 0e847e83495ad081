"""Work that runs ahead: order, bounds, errors, and that nothing goes on when the consumer stops."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.encoders.pipeline import ahead, groups


@given(st.lists(st.integers(), max_size=30), st.integers(0, 4), st.integers(1, 5))
def test_results_come_in_order(items, workers, depth):
    assert list(ahead(lambda item: item * 2, items, workers, depth)) == [item * 2 for item in items]


@given(st.lists(st.integers(), max_size=30), st.integers(1, 7))
def test_groups_are_full_but_for_the_last(items, size):
    found = list(groups(items, size))
    assert [item for group in found for item in group] == items
    assert all(len(group) == size for group in found[:-1])
    assert all(found)


@pytest.mark.parametrize(("workers", "depth"), [(1, 3), (4, 5)])
def test_never_more_than_depth_beyond_the_consumer(workers, depth):
    begun, taken = [], 0
    for _ in ahead(lambda item: item, (begun.append(item) or item for item in range(40)), workers, depth):
        taken += 1
        assert len(begun) <= taken - 1 + depth
    assert taken == 40


def test_it_does_run_ahead():
    second = threading.Event()

    def work(item):
        if item == 1:
            second.set()
        return item

    for item in ahead(work, range(3), 1, 2):
        if item == 0:  # the consumer still works on the first result while the second is computed
            assert second.wait(10)


def test_several_at_the_same_time():
    both = threading.Barrier(2, timeout=10)
    assert len(list(ahead(lambda _: both.wait(), range(2), 2, 2))) == 2


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_comes_where_its_result_would(workers):
    def work(item):
        if item == 2:
            raise ValueError("two")
        return item

    results = ahead(work, range(10), workers, 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_no_thread_is_left_when_the_consumer_stops():
    before = threading.active_count()
    results = ahead(lambda item: item, range(1000), 3, 8)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_no_thread_without_workers():
    assert list(ahead(lambda _: threading.get_ident(), range(2), 0, 2)) == [threading.get_ident()] * 2
