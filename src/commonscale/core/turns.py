"""Taking turns across threads and event loops: one change of a store, and the telling of it, at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Condition, get_ident

_PAUSE = 0.002
"""Seconds between two looks of a waiting coroutine, which must not keep its event loop waiting."""


class Turns:
    """A lock that threads, and coroutines of any event loop, hold in turn.

    A thread that holds it may take it again. One that runs the event loop of the coroutine that holds it goes ahead:
    the two could only wait for each other.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._holder: object = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold it in this thread."""
        me, loop = get_ident(), _running()
        with self._condition:
            self._condition.wait_for(lambda: self._holder is None or self._mine(me, loop))
            taken = self._holder is None
            if taken:
                self._holder, self._loop = me, loop
        try:
            yield
        finally:
            if taken:
                self._give_back()

    @asynccontextmanager
    async def aturn(self) -> AsyncIterator[None]:
        """Hold it in this coroutine."""
        me, loop = object(), asyncio.get_running_loop()
        while not self._taken(me, loop):
            await asyncio.sleep(_PAUSE)
        try:
            yield
        finally:
            self._give_back()

    def _mine(self, me: int, loop: asyncio.AbstractEventLoop | None) -> bool:
        return self._holder == me or (loop is not None and self._loop is loop)

    def _taken(self, me: object, loop: asyncio.AbstractEventLoop) -> bool:
        with self._condition:
            if self._holder is not None:
                return False
            self._holder, self._loop = me, loop
            return True

    def _give_back(self) -> None:
        with self._condition:
            self._holder, self._loop = None, None
            self._condition.notify_all()


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
