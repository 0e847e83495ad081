"""Talking to a database's client once for both worlds: the same steps for a synchronous and an asynchronous client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
C = TypeVar("C")


class Step(NamedTuple):
    """One call in a conversation.

    Attributes:
        call: calls the client: ``lambda client: client.search(...)``.
        expected: errors that the conversation handles itself.
    """

    call: Callable[[Any], Any]
    expected: tuple[type[Exception], ...] = ()


Conversation: TypeAlias = Generator[Step, Any, T]
"""Yields calls of a client, is sent their results or has the expected errors raised in it, and returns its own."""


def run(conversation: Conversation[T], client: Any) -> T:
    """Hold a conversation with a synchronous client."""
    try:
        step = next(conversation)
        while True:
            try:
                reply = step.call(client)
            except step.expected as error:
                step = conversation.throw(error)
            else:
                step = conversation.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result


async def arun(conversation: Conversation[T], client: Any) -> T:
    """As ``run``, with an asynchronous client of the same methods."""
    try:
        step = next(conversation)
        while True:
            try:
                reply = await step.call(client)
            except step.expected as error:
                step = conversation.throw(error)
            else:
                step = conversation.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result


class PerLoop(Generic[C]):
    """Asynchronous clients, one for each event loop that asks for one.

    The connections of such clients belong to the loop that opened them: in any other loop they fail. A store's own
    client may have been bound to a loop that is closed by now, or would be bound to a short-lived one by our first
    question; so it is never used, but copied. A copy lives as long as its loop: the loop itself closes it when it
    shuts its asynchronous generators down, as ``asyncio.run`` does at its end. A loop that does not look after them
    (one that ``nest_asyncio`` changed) gets a new copy each time.
    """

    def __init__(self, copy: Callable[[], C]) -> None:
        """Set up without making any.

        Args:
            copy: makes a client, whose ``close`` is a coroutine.
        """
        self._copy = copy
        self._kept: dict[asyncio.AbstractEventLoop, tuple[C, AsyncGenerator[C, None]]] = {}

    @asynccontextmanager
    async def client(self) -> AsyncIterator[C]:
        """Lend the running loop's client."""
        if sys.get_asyncgen_hooks().firstiter is not None:
            yield await self._of_loop()
            return
        client: Any = self._copy()
        try:
            yield client
        finally:
            await client.close()

    async def _of_loop(self) -> C:
        loop = asyncio.get_running_loop()
        if loop not in self._kept:
            for gone in [other for other in list(self._kept) if other.is_closed()]:
                self._kept.pop(gone, None)
            keeper = self._keeper(loop)
            self._kept[loop] = (await keeper.__anext__(), keeper)
        return self._kept[loop][0]

    async def _keeper(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[C, None]:
        client: Any = self._copy()
        try:
            yield client
        finally:
            self._kept.pop(loop, None)
            await client.close()
