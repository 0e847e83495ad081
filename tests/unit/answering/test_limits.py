from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from commonscale.answering import limits
from commonscale.answering.limits import Limits, alimited, limited
from commonscale.core import threads
from commonscale.core.errors import AnswererError, InvalidInputError

LONG = Limits()
SHORT = Limits(first=0.05, total=None)


def explain(error: Exception, begun: bool) -> AnswererError:
    return AnswererError(f"explained {error} {begun}")


def synchronous(make: Callable[[], Iterator[str]], limits: Limits = LONG) -> Iterator[str]:
    return limited(make, limits, "fake", explain)


def asynchronous(make: Callable[[], AsyncIterator[str]], limits: Limits = LONG) -> AsyncIterator[str]:
    return alimited(make, limits, "fake", explain)


async def listed(pieces: AsyncIterator[str]) -> list[str]:
    return [piece async for piece in pieces]


async def words(*given: str) -> AsyncIterator[str]:
    for word in given:
        yield word


async def test_words_come_through_and_empty_pieces_do_not() -> None:
    assert list(synchronous(lambda: iter(["", "a", "", " bus"]))) == ["a", " bus"]
    assert await listed(asynchronous(lambda: words("", "a", "", " bus"))) == ["a", " bus"]


async def test_an_answer_without_words_is_an_error() -> None:
    with pytest.raises(AnswererError, match="fake gave an empty answer"):
        list(synchronous(lambda: iter([""])))
    with pytest.raises(AnswererError, match="fake gave an empty answer"):
        await listed(asynchronous(words))


async def test_errors_are_explained_with_what_came_before() -> None:
    def broken(*before: str) -> Iterator[str]:
        yield from before
        raise OSError("gone")

    async def abroken(*before: str) -> AsyncIterator[str]:
        for word in before:
            yield word
        raise OSError("gone")

    with pytest.raises(AnswererError, match="explained gone False") as caught:
        list(synchronous(broken))
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(AnswererError, match="explained gone True"):
        list(synchronous(lambda: broken("a")))
    with pytest.raises(AnswererError, match="explained gone False"):
        await listed(asynchronous(abroken))
    with pytest.raises(AnswererError, match="explained gone True"):
        await listed(asynchronous(lambda: abroken("a")))

    def refused() -> Iterator[str]:
        raise OSError("no connection")

    with pytest.raises(AnswererError, match="explained no connection False"):
        list(synchronous(refused))


class Slow:
    """Gives words, then hangs until it is let go."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.go = threading.Event()
        self.closed = threading.Event()

    def stream(self) -> Iterator[str]:
        try:
            yield from self.words
            self.go.wait(30)
            yield "late"
        finally:
            self.closed.set()

    async def astream(self) -> AsyncIterator[str]:
        try:
            for word in self.words:
                yield word
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@pytest.mark.parametrize(
    ("given", "limits", "message"),
    [
        ((), SHORT, "fake did not begin to answer within 0.05 seconds"),
        ((), Limits(first=None, total=0.05), "fake was not done answering after 0.05 seconds"),
        ((), Limits(first=30, total=0.05), "fake was not done answering after 0.05 seconds"),
        (("a",), Limits(first=None, total=0.05), "fake was not done answering after 0.05 seconds"),
    ],
)
async def test_who_hangs_is_given_up_and_closed(given: tuple[str, ...], limits: Limits, message: str) -> None:
    slow = Slow(*given)
    with pytest.raises(AnswererError, match=message):
        list(synchronous(slow.stream, limits))
    assert not slow.closed.is_set()
    slow.go.set()
    assert slow.closed.wait(30)
    slow = Slow(*given)
    with pytest.raises(AnswererError, match=message):
        await listed(asynchronous(slow.astream, limits))
    assert slow.closed.is_set()


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_the_first_limit_is_over_once_words_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slow = Clock(), Slow("a")
    monkeypatch.setattr(limits, "time", clock)
    pieces = synchronous(slow.stream, Limits(first=30, total=60))
    assert next(pieces) == "a"
    clock.now = 59.0
    slow.go.set()
    assert next(pieces) == "late"
    slow = Slow("a")
    pieces = synchronous(slow.stream, Limits(first=30, total=60))
    assert next(pieces) == "a"
    clock.now += 61
    with pytest.raises(AnswererError, match="not done answering after 60 seconds"):
        next(pieces)
    slow.go.set()


async def test_who_stops_early_stops_the_client() -> None:
    slow = Slow("a")
    pieces = synchronous(slow.stream)
    assert next(pieces) == "a"
    pieces.close()  # type: ignore[attr-defined]
    slow.go.set()
    assert slow.closed.wait(30)
    slow = Slow("a")
    asynchronously = asynchronous(slow.astream)
    assert await anext(asynchronously) == "a"
    await asynchronously.aclose()  # type: ignore[attr-defined]
    assert slow.closed.is_set()


async def test_a_cancelled_answer_cancels_the_client() -> None:
    slow = Slow()
    task = asyncio.ensure_future(listed(asynchronous(slow.astream)))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slow.closed.is_set()


def test_who_was_given_up_before_a_thread_was_free_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_THREADS", threads._Threads(1))
    slow = Slow()
    with pytest.raises(AnswererError):
        list(synchronous(slow.stream, SHORT))
    with pytest.raises(AnswererError, match="did not begin to answer"):
        list(synchronous(lambda: iter(["a request"]), SHORT))
    assert not threads._THREADS._waiting
    slow.go.set()
    assert slow.closed.wait(30)
    assert list(synchronous(lambda: iter(["a"]))) == ["a"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_limit_must_be_a_time(seconds: float) -> None:
    with pytest.raises(InvalidInputError, match="first must be a number of seconds above 0"):
        Limits(first=seconds)
    with pytest.raises(InvalidInputError, match="total must be"):
        Limits(total=seconds)
