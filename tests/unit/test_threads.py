"""Threads for calls that may hang, and what ends them."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Future

import pytest

from commonscale.core import threads
from commonscale.core.threads import in_daemon_thread, off_thread, raise_if_abandoned, wait_while_wanted


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads at most."""
    monkeypatch.setattr(threads, "_THREADS", threads._Threads(2))


def test_results_errors_and_context_come_back() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    assert in_daemon_thread(variable.get).result(30) == "inside"
    assert in_daemon_thread(divmod, 7, 2).result(30) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        in_daemon_thread(divmod, 7, 0).result(30)
    thread = in_daemon_thread(threading.current_thread).result(30)
    assert thread.daemon


def test_calls_beyond_the_limit_wait_for_a_thread_unless_they_are_cancelled(two: None) -> None:
    go, begun = threading.Event(), threading.Barrier(3, timeout=30)
    made: list[int] = []

    def busy() -> None:
        begun.wait()
        go.wait(30)

    first = [in_daemon_thread(busy) for _ in range(2)]
    begun.wait()
    waiting = [in_daemon_thread(made.append, number) for number in range(3)]
    assert waiting[1].cancel()
    assert len(threads._THREADS._waiting) == 2
    assert made == []
    go.set()
    for future in (*first, waiting[0], waiting[2]):
        future.result(30)
    assert sorted(made) == [0, 2]
    # The threads are counted right again: two may work side by side.
    meet = threading.Barrier(2, timeout=30)
    assert sorted(future.result(30) for future in [in_daemon_thread(meet.wait) for _ in range(2)]) == [0, 1]


def test_a_thread_learns_that_nobody_waits_for_it() -> None:
    other: Future[None] = Future()
    ended = threading.Event()
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        try:
            raise_if_abandoned()
            wait_while_wanted(other)
            raise_if_abandoned()
        except TimeoutError:
            ended.set()

    raise_if_abandoned()
    future = in_daemon_thread(wait)
    assert begun.wait(30)
    assert future.cancel()
    assert ended.wait(30)
    with pytest.raises(CancelledError):
        future.result(30)
    other.set_result(None)
    wait_while_wanted(other)


async def test_cancelling_is_heeded_at_once() -> None:
    go, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go.wait(30)

    task = asyncio.ensure_future(off_thread(hang))
    while not begun.is_set():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not go.is_set()
    go.set()


def test_a_thread_that_cannot_be_started_is_not_counted(monkeypatch: pytest.MonkeyPatch, two: None) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="new thread"):
                in_daemon_thread(int)
    assert in_daemon_thread(int).result(30) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_after_a_fork_the_child_counts_its_own_threads_and_no_process_waits_for_one_that_hangs() -> None:
    code = """
import os, threading
from commonscale.core import threads
threads._THREADS = threads._Threads(1)
hangs = threads.in_daemon_thread(threading.Event().wait)
child = os.fork()
if child == 0:
    os._exit(0 if threads.in_daemon_thread(int).result(10) == 0 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, check=False).returncode == 0
