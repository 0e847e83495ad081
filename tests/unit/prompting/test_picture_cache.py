"""Prepared pictures are kept within bounds, and made once however many ask."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.errors import ImageError
from commonscale.prompting import PreparedPicture
from commonscale.prompting.picture_cache import PictureCache


class Maker:
    """Makes pictures of a size, and counts."""

    def __init__(self, size: int = 10, error: Exception | None = None) -> None:
        self.calls = 0
        self._size, self._error = size, error

    def __call__(self) -> PreparedPicture:
        self.calls += 1
        if self._error is not None:
            raise self._error
        return PreparedPicture(b"x" * self._size, "image/png", 1, 1)


def test_what_is_kept_is_made_once() -> None:
    cache, make = PictureCache(2), Maker()
    first = cache.get("a", make, keep_bad=True)
    assert cache.get("a", make, keep_bad=True) is first
    assert make.calls == 1
    assert cache.get("b", make, keep_bad=True) is not first


def test_the_one_not_used_for_longest_goes_first() -> None:
    cache, make = PictureCache(2), Maker()
    for key in ("a", "b", "a", "c", "a"):
        cache.get(key, make, keep_bad=True)
    assert (make.calls, len(cache)) == (3, 2)
    cache.get("b", make, keep_bad=True)
    assert make.calls == 4


def test_bytes_are_bounded_too() -> None:
    cache = PictureCache(10, max_bytes=100)
    small, large, huge = Maker(40), Maker(90), Maker(101)
    for key in ("a", "b"):
        cache.get(key, small, keep_bad=True)
    assert len(cache) == 2
    cache.get("c", large, keep_bad=True)
    assert len(cache) == 1
    assert cache.get("d", huge, keep_bad=True).content == b"x" * 101
    assert len(cache) == 0
    cache.get("a", small, keep_bad=True)
    assert (small.calls, len(cache)) == (3, 1)


def test_nothing_is_kept_if_nothing_may_be() -> None:
    cache, make = PictureCache(0), Maker()
    for _ in range(2):
        cache.get("a", make, keep_bad=True)
    assert (make.calls, len(cache)) == (2, 0)


@pytest.mark.parametrize(("keep_bad", "calls"), [(True, 1), (False, 2)])
def test_bad_pictures_are_remembered_where_asking_again_is_no_use(keep_bad: bool, calls: int) -> None:
    cache, make = PictureCache(2), Maker(error=ImageError("damaged"))
    for _ in range(2):
        with pytest.raises(ImageError, match=r"^damaged$"):
            cache.get("a", make, keep_bad=keep_bad)
    assert make.calls == calls


def test_trouble_of_the_machine_is_never_remembered() -> None:
    cache, make = PictureCache(2), Maker(error=OSError("too many open files"))
    for _ in range(2):
        with pytest.raises(OSError, match="too many"):
            cache.get("a", make, keep_bad=True)
    assert make.calls == 2
    assert cache.get("a", Maker(), keep_bad=True).content


class Held:
    """A maker that goes on only when told, so that others come to wait."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.inner = Maker(error=error)

    def __call__(self) -> PreparedPicture:
        self.begun.set()
        assert self.go_on.wait(30)
        return self.inner()


@pytest.mark.parametrize("kept", [0, 5])
def test_who_asks_meanwhile_waits_and_gets_the_same(kept: int) -> None:
    cache, held, other = PictureCache(kept), Held(), Maker()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(cache.get, "a", held, keep_bad=True)
        assert held.begun.wait(30)
        waiting = pool.submit(cache.get, "a", other, keep_bad=True)
        assert pool.submit(cache.get, "b", other, keep_bad=True).result(30).content  # other pictures are not held up
        assert not waiting.done()
        held.go_on.set()
        assert first.result(30).content
        assert waiting.result(30).content
    assert held.inner.calls == 1
    if kept:
        assert waiting.result() is first.result()
        assert other.calls == 1


def test_a_bad_picture_is_told_to_all_who_wait_each_with_an_error_of_its_own() -> None:
    cache, held, other = PictureCache(5), Held(ImageError("damaged")), Maker()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "a", held, keep_bad=True)
        assert held.begun.wait(30)
        second = pool.submit(cache.get, "a", other, keep_bad=True)
        held.go_on.set()
        errors = [asked.exception(30) for asked in (first, second)]
    assert [str(error) for error in errors] == ["damaged", "damaged"]
    assert errors[0] is not errors[1]
    assert other.calls == 0


def test_who_waits_for_one_that_broke_off_tries_again() -> None:
    cache, held, other = PictureCache(5), Held(KeyboardInterrupt("interrupted")), Maker()  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "a", held, keep_bad=True)
        assert held.begun.wait(30)
        second = pool.submit(cache.get, "a", other, keep_bad=True)
        held.go_on.set()
        assert isinstance(first.exception(30), KeyboardInterrupt)
        assert second.result(30).content
    assert other.calls == 1


@given(
    asked=st.lists(st.integers(0, 6), max_size=40),
    most=st.integers(0, 4),
    sizes=st.lists(st.integers(0, 60), min_size=7, max_size=7),
)
def test_it_does_what_the_simplest_cache_does(asked: list[int], most: int, sizes: list[int]) -> None:
    """Against a list that is searched from the start: the same are kept, in the same order."""
    cache, kept, makers = PictureCache(most, max_bytes=100), [], [Maker(size) for size in sizes]
    expected = [0] * len(makers)
    for key in asked:
        cache.get(key, makers[key], keep_bad=True)
        expected[key] += key not in kept
        kept = [other for other in kept if other != key] + [key]
        while kept and (len(kept) > most or sum(sizes[other] for other in kept) > 100):
            kept = kept[1:]
        assert len(cache) == len(kept)
    assert [maker.calls for maker in makers] == expected


def test_many_threads_and_few_places() -> None:
    cache, makers = PictureCache(3, max_bytes=35), [Maker() for _ in range(6)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: cache.get(i % 6, makers[i % 6], keep_bad=True), range(600)))
    assert all(picture.content == b"x" * 10 for picture in found)
    assert len(cache) == 3
