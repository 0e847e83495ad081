"""Work that runs ahead of whoever takes its results, so that pictures are decoded while the model computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


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
    source = iter(items)
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="commonscale-encoder")
    try:
        while True:
            for item in islice(source, depth - len(waiting)):
                waiting.append(pool.submit(copy_context().run, function, item))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        # Whoever stops early (an error, Ctrl-C) gets no thread that still decodes or asks a service.
        pool.shutdown(wait=True, cancel_futures=True)


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give items in lists of ``size``, the last one shorter."""
    source = iter(items)
    while group := list(islice(source, size)):
        yield group
