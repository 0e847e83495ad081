"""Threads get the lock first come, first served."""

from __future__ import annotations

import time
from threading import Event, Lock
from typing import Any

import numpy as np
import pytest

from commonscale.answering.opening import one_at_a_time
from commonscale.core import fair_lock
from commonscale.core.fair_lock import FairLock
from threads import SECONDS, joined, queued, started


def test_whoever_asked_first_is_served_first_and_who_comes_again_last() -> None:
    lock, order = FairLock(), []

    def work(number: int) -> None:
        with lock:
            order.append(number)

    threads = []
    with lock:
        for number in range(5):
            threads.append(started(lambda number=number: work(number)))
            queued(lock, number + 1)
    with lock:  # was the holder just now, and asks again at once
        order.append(5)
    joined(threads)
    assert order == [0, 1, 2, 3, 4, 5]
    assert lock.waiting == 0


def test_one_thread_is_inside_at_a_time() -> None:
    lock, inside, most = FairLock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock:
                inside += 1
                time.sleep(0)  # lets others run
                most = max(most, inside)
                inside -= 1

    joined([started(work) for _ in range(8)])
    assert (most, inside, lock.waiting) == (1, 0, 0)


def test_an_error_inside_gives_the_lock_back() -> None:
    lock = FairLock()
    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), lock:
            raise ValueError("inside")


@pytest.mark.parametrize("handed", [False, True])
def test_who_is_interrupted_while_waiting_leaves_the_queue(handed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the turn had come already or not."""
    lock, served = FairLock(), Event()

    class Interrupted:
        """A lock whose second wait is interrupted, once the turn is there or before."""

        def __init__(self) -> None:
            self._lock = Lock()
            self._waits = 0

        def acquire(self) -> Any:
            self._waits += 1
            if self._waits == 2:
                if handed:
                    lock.__exit__()
                raise KeyboardInterrupt
            return self._lock.acquire()

        def release(self) -> None:
            self._lock.release()

    with monkeypatch.context() as changed:
        lock.__enter__()
        changed.setattr(fair_lock, "Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.__enter__()
    if not handed:
        lock.__exit__()

    def work() -> None:
        with lock:
            served.set()

    joined([started(work)])
    assert served.is_set()


def test_questions_are_embedded_in_the_order_in_which_they_were_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    lock, first, go = FairLock(), Event(), Event()
    monkeypatch.setattr("commonscale.answering.opening.FairLock", lambda: lock)

    def encode(questions: Any) -> Any:
        first.set()
        assert go.wait(SECONDS)
        order.extend(questions)
        return np.zeros((len(questions), 2))

    embed = one_at_a_time(encode)
    threads = []
    for number in range(4):
        threads.append(started(lambda number=number: embed([f"question {number}"])))
        assert first.wait(SECONDS)
        queued(lock, number)
    go.set()
    joined(threads)
    assert order == [f"question {number}" for number in range(4)]
