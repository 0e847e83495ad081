"""Threads in tests: started, waited for, and never for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Event, Thread

from commonscale.core.fair_lock import FairLock

SECONDS = 60
"""How long something may take on a machine that has much else to do."""


def started(work: Callable[[], object]) -> Thread:
    """Start what ends with the test run, if not before."""
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def queued(lock: FairLock, count: int) -> None:
    """Wait until so many threads wait."""
    pause = Event()
    for _ in range(SECONDS * 1000):
        if lock.waiting == count:
            return
        pause.wait(0.001)
    raise AssertionError(f"{lock.waiting} threads wait, not {count}")


def joined(threads: Iterable[Thread]) -> None:
    """Wait until all are done."""
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a thread does not end"
