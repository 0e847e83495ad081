"""Pages of stored vectors, and finding some among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.pages import Page, check_size, in_order, matrix_pages, picked

ROWS = np.arange(20, dtype=np.float32).reshape(10, 2)
IDS = [f"d{number}" for number in range(10)]


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_a_matrix_is_cut_into_pages(size: int) -> None:
    pages = list(matrix_pages(IDS, ROWS, size))
    assert [one for ids, _ in pages for one in ids] == IDS
    assert np.concatenate([rows for _, rows in pages]).tolist() == ROWS.tolist()
    assert all(len(ids) == len(rows) <= size for ids, rows in pages)


def test_what_is_empty_has_no_pages() -> None:
    assert list(matrix_pages([], np.empty((0, 2), np.float32), 5)) == []
    assert picked([], [], "the store").shape == (0, 0)


def test_ids_are_picked_in_their_order_and_no_further_than_needed() -> None:
    read = []

    def pages() -> Iterator[Page]:
        for page in matrix_pages(IDS, ROWS, 2):
            read.append(page[0])
            yield page

    found = picked(pages(), ["d3", "d0", "d3"], "the store")
    assert found.tolist() == ROWS[[3, 0, 3]].tolist()
    assert read == [["d0", "d1"], ["d2", "d3"]]


def test_what_is_missing_or_of_another_length_is_named() -> None:
    with pytest.raises(SourceError, match=r"the store holds no vector of the document 'nobody' \(1 of 2 ids"):
        picked(matrix_pages(IDS, ROWS, 4), ["d1", "nobody"], "the store")
    with pytest.raises(SourceError, match="not all of one length"):
        in_order({"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)}, ["a", "b"], "the store")


@pytest.mark.parametrize("size", [0, -1, True, 2.5, "9"])
def test_sizes_that_are_none_are_refused(size: object) -> None:
    with pytest.raises(InvalidInputError, match="size must be an integer >= 1"):
        check_size(size)  # type: ignore[arg-type]


def test_sizes_of_numpy_are_taken() -> None:
    assert check_size(np.int64(7)) == 7  # type: ignore[arg-type]
