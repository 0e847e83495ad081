from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from commonscale.core import concurrency
from commonscale.core.concurrency import WORKERS, run_together


@pytest.fixture(autouse=True)
def _several_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "processors", lambda: 2)


def test_on_a_single_processor_the_caller_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    assert concurrency.processors() == 2
    monkeypatch.setattr(concurrency, "processors", lambda: 1)
    assert run_together([threading.get_ident] * 3, [True] * 3) == [threading.get_ident()] * 3


def test_results_come_in_order_and_the_first_task_runs_in_the_callers_thread() -> None:
    threads: dict[int, int] = {}

    def task(number: int) -> int:
        threads[number] = threading.get_ident()
        return number * 10

    assert run_together([lambda n=n: task(n) for n in range(5)], [True] * 5) == [0, 10, 20, 30, 40]
    assert threads[0] == threading.get_ident()
    assert run_together([lambda: task(7)], [True]) == [70]


def test_tasks_really_run_side_by_side() -> None:
    # Each task waits for the other: run one after the other they would break the barrier.
    barrier = threading.Barrier(2, timeout=10)
    assert sorted(run_together([barrier.wait, barrier.wait], [True, True])) == [0, 1]


def test_busy_helpers_are_not_waited_for() -> None:
    release, busy = threading.Event(), threading.Barrier(WORKERS + 1, timeout=10)

    def block() -> None:
        busy.wait()
        release.wait(10)

    with ThreadPoolExecutor(WORKERS) as callers:
        blocked = [callers.submit(run_together, [lambda: None, block], [True, True]) for _ in range(WORKERS)]
        busy.wait()  # now every helping thread is occupied
        assert run_together([lambda: 1, lambda: 2, lambda: 3], [True] * 3) == [1, 2, 3]
        assert not any(future.done() for future in blocked)
        release.set()


def test_the_first_error_in_order_is_raised() -> None:
    def fail(message: str) -> None:
        raise ValueError(message)

    with pytest.raises(ValueError, match="one"):
        run_together([lambda: fail("one"), lambda: fail("two")], [True, True])
    with pytest.raises(ValueError, match="two"):
        run_together([lambda: None, lambda: fail("two"), lambda: fail("three")], [True] * 3)


def test_context_variables_are_seen_by_every_task() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    barrier = threading.Barrier(2, timeout=10)

    def read() -> str:
        barrier.wait()
        return variable.get()

    assert run_together([read, read], [True, True]) == ["inside", "inside"]


def test_without_helpers_the_caller_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    monkeypatch.setattr(concurrency, "_pool", lambda: closed)
    assert run_together([threading.get_ident, threading.get_ident], [True, True]) == [threading.get_ident()] * 2


def test_tasks_that_must_stay_run_in_the_callers_thread_in_order() -> None:
    seen: list[tuple[str, int]] = []
    tasks = [lambda name=name: seen.append((name, threading.get_ident())) for name in "abc"]
    run_together(tasks, [False] * 3)
    assert seen == [(name, threading.get_ident()) for name in "abc"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_after_a_fork_the_child_has_threads_of_its_own() -> None:
    code = """
import os, threading
from commonscale.core import concurrency
from commonscale.core.concurrency import _pool, run_together
concurrency.processors = lambda: 2
def meet():
    barrier = threading.Barrier(2, timeout=10)
    return sorted(run_together([barrier.wait, barrier.wait], [True, True]))
meet()
child = os.fork()
if child == 0:
    os._exit(0 if meet() == [0, 1] and _pool()._work_queue.qsize() == 0 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, check=False).returncode == 0
