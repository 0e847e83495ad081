"""Threads for calls that may never return: nothing waits for them, and they learn when nobody waits any more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Event, Lock, Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST_THREADS = 256
"""Most calls at once in threads of this kind; far more than a loop's own pool has, since each of them may hang."""

_CALL: ContextVar[Future[Any] | None] = ContextVar("commonscale_call", default=None)
"""The result that this thread, or the one that it helps, is to bring; cancelled once nobody waits for it."""


def in_daemon_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Call a function in a thread that neither an event loop nor the interpreter waits for at its end.

    Beyond ``MOST_THREADS`` a call waits until another has returned, and is not made if its result is cancelled by
    then. Context variables are those of the caller.

    Args:
        function: what may hang on a store.
        *args: its arguments.
        **kwargs: its arguments.

    Returns:
        Its result, later. It may be cancelled at any time: the function then goes on until it returns or asks
        ``raise_if_abandoned``, and what it returns is dropped.
    """
    return _THREADS.start(partial(function, *args, **kwargs))


async def off_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As ``asyncio.to_thread``, in a daemon thread: for what may hang on a store; cancelling is heeded at once."""
    return await asyncio.wrap_future(in_daemon_thread(function, *args, **kwargs))


def raise_if_abandoned() -> None:
    """Go on only if somebody may still wait for what this thread does.

    Raises:
        TimeoutError: if its result was cancelled.
    """
    call = _CALL.get()
    if call is not None and call.cancelled():
        raise TimeoutError("nobody waits for this any more")


def wait_while_wanted(other: Future[Any]) -> None:
    """Wait until something is done, or until nobody waits any more for what this thread does."""
    done = Event()
    for future in (other, _CALL.get()):
        if future is not None:
            future.add_done_callback(lambda _: done.set())
    done.wait()


class _Threads:
    """Daemon threads, made as they are needed; one that is free takes over what waits."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._working = 0
        self._waiting: dict[Future[Any], Callable[[], None]] = {}

    def start(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        # The future stays pending while the call runs, so that it can be cancelled then too.
        work = partial(copy_context().run, _bring, future, call)
        with self._lock:
            full = self._working >= self._most
            if full:
                self._waiting[future] = work
            else:
                self._working += 1
        if full:
            future.add_done_callback(self._drop)
        else:
            self._begin(work)
        return future

    def _drop(self, gone: Future[Any]) -> None:
        with self._lock:
            self._waiting.pop(gone, None)

    def _begin(self, work: Callable[[], None]) -> None:
        try:
            Thread(target=self._work, args=(work,), name="commonscale-store", daemon=True).start()
        except BaseException:
            with self._lock:
                self._working -= 1
            raise

    def _work(self, work: Callable[[], None]) -> None:
        while True:
            work()
            with self._lock:
                if not self._waiting:
                    self._working -= 1
                    return
                work = self._waiting.pop(next(iter(self._waiting)))


def _bring(future: Future[T], call: Callable[[], T]) -> None:
    if future.cancelled():
        return
    _CALL.set(future)
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 (whoever waits raises it)
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
    else:
        if future.set_running_or_notify_cancel():
            future.set_result(result)


_THREADS = _Threads(MOST_THREADS)


def _forget() -> None:
    global _THREADS
    _THREADS = _Threads(MOST_THREADS)


if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork: the child counts its own.
    os.register_at_fork(after_in_child=_forget)
