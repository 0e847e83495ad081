"""Waiting for what may be slow, or never come, without waiting for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import TypeVar

from commonscale.answering.threads import close
from commonscale.core.errors import AnswererError
from commonscale.core.threads import in_daemon_thread

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a language model.

    Attributes:
        remind: seconds of silence after which the user is told that it is slow.
        limit: seconds of silence after which it is given up.
    """

    remind: float = 8.0
    limit: float = 120.0


@dataclass(frozen=True, slots=True)
class _Failure:
    error: BaseException


_END = object()

_TICK = 0.2  # seconds between looks at whether anybody still waits


def patiently(
    events: Iterator[T], patience: Patience, stopped: Callable[[], bool] = lambda: False
) -> Iterator[list[T]]:
    """Give events as they come, from a thread that nobody has to wait for.

    Args:
        events: may block between events. Closed at the end; if it is left early, as soon as it moves again.
        patience: how long to wait.
        stopped: says when nobody wants any more, and then nothing more is given.

    Yields:
        All events that have come since the last time, in order; an empty list while there is silence.

    Raises:
        AnswererError: if nothing came for too long.
        BaseException: whatever ``events`` raises.
    """
    arrived: SimpleQueue[object] = SimpleQueue()
    left = Event()
    in_daemon_thread(_run, events, arrived, left)
    silence = told = 0.0
    try:
        while not stopped():
            wait = min(_TICK, patience.limit - silence, patience.remind)
            batch, over = _batch(arrived, wait)
            silence = 0.0 if batch or over else silence + wait
            told = min(told, silence)
            if batch or (over is None and silence - told >= patience.remind):
                told = silence
                yield batch  # type: ignore[misc]
            if isinstance(over, _Failure):
                raise over.error
            if over is not None:
                return
            if silence >= patience.limit:
                raise AnswererError(
                    f"nothing has come from the language model for {patience.limit:.0f} seconds, so it is waited for "
                    f"no longer; see whether it is running, and ask again"
                )
    finally:
        left.set()


def _run(events: Iterator[T], arrived: SimpleQueue[object], left: Event) -> None:
    try:
        for event in events:
            if left.is_set():
                break
            arrived.put(event)
        arrived.put(_END)
    except BaseException as error:  # noqa: BLE001 (whoever waits raises it)
        arrived.put(_Failure(error))
    finally:
        close(events)


def _batch(arrived: SimpleQueue[object], wait: float) -> tuple[list[object], object | None]:
    """Take all that is there, waiting for the first: events, and the end or failure if it has come."""
    batch: list[object] = []
    try:
        item = arrived.get(timeout=wait)
        while item is not _END and not isinstance(item, _Failure):
            batch.append(item)
            item = arrived.get_nowait()
    except Empty:
        return batch, None
    return batch, item
