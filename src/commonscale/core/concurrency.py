"""Running the searches of one question side by side, so that a question costs the slowest source and not their sum."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import ParamSpec, TypeVar

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")

ASKED_AT_ONCE = 8
"""Most questions that are put to one server at the same time; what connection pools usually hold."""

ON_LOOP = 16
"""Most questions whose answers are read, checked and ranked on the event loop; those of more go to a thread."""

WORKERS = min(32, (os.cpu_count() or 1) + 4)
"""Threads that help; the caller's own thread always works too."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="commonscale")


if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork: the child makes a pool of its own.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def processors() -> int:
    """Count the processors that this process may use now."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_together(tasks: Sequence[Callable[[], T]], concurrent: Sequence[bool]) -> list[T]:
    """Run tasks, those that allow it side by side.

    Tasks that must stay in the calling thread run there, one after the other; if there are none, the first one
    does. The others go to helping threads, if the process may use more than one processor: on a single one they
    would only get in each other's way. One that no helping thread has begun by the time the caller has
    finished its own is run by the caller: it never waits for threads that are busy with other callers' tasks.
    Context variables (callbacks, traces) are seen by every task as by the caller.

    Args:
        tasks: at least one.
        concurrent: whether each task may run in another thread.

    Returns:
        Their results, in order.

    Raises:
        Exception: the error of a task that failed; tasks not begun by then are not run.
    """
    alone = processors() < 2
    stay = [index for index, free in enumerate(concurrent) if alone or not free] or [0]
    futures = {index: _submitted(task) for index, task in enumerate(tasks) if index not in stay}
    results: dict[int, T] = {}
    try:
        for index in stay:
            results[index] = tasks[index]()
        for index, future in futures.items():
            own = future is None or future.cancel()
            results[index] = tasks[index]() if own or future is None else future.result()
    finally:
        for future in futures.values():
            if future is not None:
                future.cancel()
    return [results[index] for index in range(len(tasks))]


def _submitted(task: Callable[[], T]) -> Future[T] | None:
    try:
        return _pool().submit(copy_context().run, task)
    except RuntimeError:  # The interpreter is shutting down and takes no more work; the caller will do it.
        return None


def map_bounded(function: Callable[[S], T], items: Sequence[S], workers: int = ASKED_AT_ONCE) -> list[T]:
    """Apply a function to every item in a few threads of its own, for stores that answer one question at a time.

    Args:
        function: thread-safe, and mostly waiting (for a server).
        items: any number; a single one is done in the caller's thread.
        workers: most calls at once.

    Returns:
        The results, in order.

    Raises:
        Exception: the first error; calls not begun by then are not made.
    """
    if len(items) < 2 or workers < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(workers, len(items)), thread_name_prefix="commonscale-store") as pool:
        futures = [pool.submit(copy_context().run, function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


async def off_loop(questions: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Work on the answers to many questions without holding up the event loop.

    Args:
        questions: how many; for a few (``ON_LOOP``) the work takes less time than handing it to a thread.
        function: the work.
        *args: its arguments.
        **kwargs: its arguments.

    Returns:
        Its result.
    """
    if questions <= ON_LOOP:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


async def amap_bounded(
    function: Callable[[S], Awaitable[T]], items: Sequence[S], limit: int = ASKED_AT_ONCE
) -> list[T]:
    """Await a coroutine function for every item, at most ``limit`` at once.

    Returns:
        The results, in order.

    Raises:
        Exception: the first error; the calls still running are cancelled.
    """
    turn = asyncio.Semaphore(limit)

    async def one(item: S) -> T:
        async with turn:
            return await function(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        # Cancelled calls are awaited, so that none still holds a connection when the caller sees the error.
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
