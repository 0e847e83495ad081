"""Iterating in threads over what blocks, without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from commonscale.core.threads import off_thread

T = TypeVar("T")

_END: Any = object()


async def in_thread(iterator: Iterator[T]) -> AsyncIterator[T]:
    """Give what an iterator gives, each item waited for in a thread.

    Args:
        iterator: may block. It is closed at the end, also after an error and when the caller stops early; if it is
            then still at work on an item, as soon as that is there.

    Yields:
        Its items, in order.
    """
    step: asyncio.Future[T] | None = None
    try:
        while True:
            step = asyncio.ensure_future(off_thread(next, iterator, _END))
            # Shielded: a thread cannot be interrupted, and an iterator at work cannot be closed.
            item = await asyncio.shield(step)
            if item is _END:
                return
            yield item
    finally:
        if step is None or step.done():
            close(iterator)
        else:
            step.add_done_callback(lambda done: _close_after(done, iterator))


def close(iterator: Any) -> None:
    """Close an iterator, if that can be done: a generator's connection is freed at once."""
    end = getattr(iterator, "close", None)
    if end is not None:
        end()


async def aclose(iterator: Any) -> None:
    """Close an async iterator, if that can be done."""
    end = getattr(iterator, "aclose", None)
    if end is not None:
        await end()


def _close_after(done: asyncio.Future[Any], iterator: Any) -> None:
    if not done.cancelled():
        done.exception()  # looked at, so that nobody is told of an error that nobody waits for
    close(iterator)
