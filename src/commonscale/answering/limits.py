"""Time limits on an answer that comes in pieces from somewhere that may hang."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from commonscale.answering.threads import aclose, close
from commonscale.core.errors import AnswererError, InvalidInputError
from commonscale.core.threads import in_daemon_thread

Explain: TypeAlias = Callable[[Exception, bool], AnswererError]
"""From what a client raised, and whether the answer had begun, to an error that a user can read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may take.

    Attributes:
        first: seconds until its first words; None for no limit of their own.
        total: seconds until its end; None for no limit.
    """

    first: float | None = 120.0
    total: float | None = 300.0

    def __post_init__(self) -> None:
        for name, seconds in (("first", self.first), ("total", self.total)):
            if seconds is not None and not seconds > 0:
                raise InvalidInputError(f"{name} must be a number of seconds above 0, or None, got {seconds!r}")


class _End:
    """The iterator has come to its end."""


@dataclass
class _Failed:
    error: Exception


class _Clock:
    """Counts the time of one answer.

    Attributes:
        begun: whether words have come.
    """

    def __init__(self, limits: Limits, name: str, explain: Explain) -> None:
        self.begun = False
        self._limits = limits
        self._name = name
        self._explain = explain
        self._start = time.monotonic()

    def left(self) -> float | None:
        """Give the seconds that the next words may take; None if there is no limit."""
        limits = [self._limits.total] if self.begun else [self._limits.first, self._limits.total]
        known = [limit for limit in limits if limit is not None]
        return max(self._start + min(known) - time.monotonic(), 0.0) if known else None

    def take(self, item: Any) -> str | None:
        """Look at what has come.

        Returns:
            Words; None at the end.

        Raises:
            AnswererError: if it has failed, or ends without a word.
        """
        if isinstance(item, _Failed):
            raise self._explain(item.error, self.begun) from item.error
        if isinstance(item, _End):
            if not self.begun:
                raise AnswererError(f"{self._name} gave an empty answer; ask again, or in other words")
            return None
        self.begun = True
        words: str = item
        return words

    def late(self) -> AnswererError:
        """Say that nothing has come in time."""
        first, total = self._limits.first, self._limits.total
        if not self.begun and first is not None and (total is None or first <= total):
            return AnswererError(f"{self._name} did not begin to answer within {first:g} seconds; ask again later")
        return AnswererError(f"{self._name} was not done answering after {total:g} seconds; ask again, or for less")


def limited(make: Callable[[], Iterator[str]], limits: Limits, name: str, explain: Explain) -> Iterator[str]:
    """Give the pieces of an answer as they come, but not for longer than allowed.

    Args:
        make: sends the request and gives the pieces; called, and iterated over, in one thread of its own. If the caller
            stops early or time is up, it is left at the next piece and closed.
        limits: how long it may take.
        name: who answers, for messages.
        explain: makes the error of what ``make`` raises.

    Yields:
        Pieces that are not empty, at least one.

    Raises:
        AnswererError: if it fails, takes too long, or there are no words.
    """
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopped = threading.Event()

    def pump() -> None:
        pieces: Iterator[str] | None = None
        try:
            pieces = make()
            for piece in pieces:
                if stopped.is_set():
                    return
                if piece:
                    box.put(piece)
            box.put(_End())
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            box.put(_Failed(error))
        finally:
            close(pieces)

    clock = _Clock(limits, name, explain)
    call = in_daemon_thread(pump)
    try:
        while True:
            try:
                item = box.get(timeout=clock.left())
            except queue.Empty:
                raise clock.late() from None
            words = clock.take(item)
            if words is None:
                return
            yield words
    finally:
        stopped.set()
        call.cancel()  # one that still waits for a thread sends no request any more


async def alimited(
    make: Callable[[], AsyncIterator[str]], limits: Limits, name: str, explain: Explain
) -> AsyncIterator[str]:
    """As ``limited``, in one task of the event loop instead of a thread, which is cancelled when time is up."""
    box: asyncio.Queue[Any] = asyncio.Queue()

    async def pump() -> None:
        pieces = make()
        try:
            async for piece in pieces:
                if piece:
                    box.put_nowait(piece)
            box.put_nowait(_End())
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            box.put_nowait(_Failed(error))
        finally:
            await aclose(pieces)

    clock = _Clock(limits, name, explain)
    pumping = asyncio.ensure_future(pump())
    try:
        while True:
            try:
                item = await asyncio.wait_for(box.get(), clock.left())
            except asyncio.TimeoutError:
                raise clock.late() from None
            words = clock.take(item)
            if words is None:
                return
            yield words
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
