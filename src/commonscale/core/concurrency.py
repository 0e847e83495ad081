"""Running the searches of one question side by side, so that a question costs the slowest source and not their sum."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import TypeVar

T = TypeVar("T")

WORKERS = min(32, (os.cpu_count() or 1) + 4)
"""Threads that help; the caller's own thread always works too."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="commonscale")


def run_together(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run tasks side by side: the first in the calling thread, the others in helping threads.

    A task that no helping thread has begun when the caller has finished its own is run by the caller. So it
    never waits for threads that are busy with other callers' tasks, or that do not exist after a fork. Context
    variables (callbacks, traces) are seen by every task as by the caller.

    Args:
        tasks: at least one.

    Returns:
        Their results, in order.

    Raises:
        Exception: the error of the first task in order that failed; tasks not begun by then are not run.
    """
    first, *others = tasks
    futures: list[Future[T] | None] = [_submitted(task) for task in others]
    try:
        results = [first()]
        for future, task in zip(futures, others, strict=True):
            results.append(task() if future is None or future.cancel() else future.result())
    finally:
        for future in futures:
            if future is not None:
                future.cancel()
    return results


def _submitted(task: Callable[[], T]) -> Future[T] | None:
    try:
        return _pool().submit(copy_context().run, task)
    except RuntimeError:  # The interpreter is shutting down and takes no more work; the caller will do it.
        return None
