"""Threads and coroutines take turns."""

from __future__ import annotations

import asyncio
from threading import Event, Thread

from commonscale.core.turns import Turns


def test_threads_take_turns() -> None:
    turns, order, inside = Turns(), [], Event()

    def second() -> None:
        inside.wait()
        with turns.turn():
            order.append("second")

    other = Thread(target=second)
    other.start()
    with turns.turn():
        inside.set()
        with turns.turn():  # a thread that holds it may take it again
            order.append("first")
    other.join()
    assert order == ["first", "second"]


async def test_coroutines_take_turns_and_the_loop_goes_on() -> None:
    turns, running, most, done = Turns(), 0, 0, []

    async def change(number: int) -> None:
        nonlocal running, most
        async with turns.aturn():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            done.append(number)

    await asyncio.gather(*(change(number) for number in range(5)))
    assert most == 1
    assert sorted(done) == list(range(5))


async def test_a_call_in_the_loop_of_the_holder_goes_ahead() -> None:
    turns = Turns()
    async with turns.aturn():
        with turns.turn():
            reached = True
    assert reached
    # It was given back once only, by the coroutine.
    with turns.turn():
        pass


async def test_a_thread_waits_for_a_coroutine() -> None:
    turns, order, started = Turns(), [], Event()

    def change() -> None:
        started.set()
        with turns.turn():
            order.append("thread")

    async with turns.aturn():
        waiting = asyncio.create_task(asyncio.to_thread(change))
        await asyncio.to_thread(started.wait)
        order.append("coroutine")
    await waiting
    assert order == ["coroutine", "thread"]


def test_an_error_gives_the_turn_back() -> None:
    turns = Turns()
    for _ in range(2):
        try:
            with turns.turn():
                raise ValueError
        except ValueError:
            continue
    with turns.turn():
        pass
