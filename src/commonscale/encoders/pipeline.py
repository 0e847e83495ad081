"""Work that runs ahead of whoever takes its results, so that pictures are decoded while the model computes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from itertools import islice
from threading import Event
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

# In the threads of ahead(): set once nobody takes their results any more.
_STOPPED: ContextVar[Event | None] = ContextVar("stopped", default=None)


def ahead(function: Callable[[S], T], items: Iterable[S], workers: int, depth: int) -> Generator[T, None, None]:
    """Apply a function to every item in threads, in order, some items ahead of the consumer.

    Args:
        function: thread-safe.
        items: any number; read in the consumer's thread, never more than ``depth`` beyond what was taken.
        workers: threads; none are made for 0, and the function is applied when its result is asked for.
        depth: most results that are begun and not yet taken. It bounds the memory.

    Yields:
        The results, in the order of the items.

    Raises:
        Exception: the first error in order of the items, where its result would have come.
    """
    if workers < 1:
        yield from map(function, items)
        return
    stopped = Event()

    def begin(item: S) -> T:
        _STOPPED.set(stopped)
        return function(item)

    source = iter(items)
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="commonscale-encoder")
    try:
        while True:
            for item in islice(source, depth - len(waiting)):
                waiting.append(pool.submit(copy_context().run, begin, item))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        # Whoever stops early (an error, Ctrl-C) gets no thread that still decodes or asks a service, and need not wait
        # for one that sleeps until it may ask again.
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


def pause(seconds: float) -> None:
    """Sleep; in a thread of :func:`ahead`, no longer than somebody waits for its result.

    Raises:
        CancelledError: if nobody does any more.
    """
    stopped = _STOPPED.get()
    if stopped is None:
        time.sleep(seconds)
    elif stopped.wait(seconds):
        raise CancelledError


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give items in lists of ``size``, the last one shorter."""
    source = iter(items)
    while group := list(islice(source, size)):
        yield group
