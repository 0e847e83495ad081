"""A lock that threads get in the order in which they asked for it."""

from __future__ import annotations

from collections import deque
from threading import Lock


class FairLock:
    """A lock for threads, first come, first served: ``with lock: ...``.

    A ``threading.Lock`` goes to whoever runs when it is free, which is often the thread that has just given it back:
    of many, some wait long. As a ``threading.Lock``, it cannot be taken again by the thread that holds it.
    """

    def __init__(self) -> None:
        self._change = Lock()
        self._held = False
        self._queue: deque[Lock] = deque()

    @property
    def waiting(self) -> int:
        """How many threads wait for it."""
        return len(self._queue)

    def __enter__(self) -> None:
        """Wait for the turn of this thread."""
        with self._change:
            if not self._held:
                self._held = True
                return
            ticket = Lock()
            ticket.acquire()
            self._queue.append(ticket)
        try:
            ticket.acquire()  # whoever leaves gives it back, and the lock with it
        except BaseException:  # an interrupt: nobody is left who could take the turn
            self._leave(ticket)
            raise

    def __exit__(self, *_: object) -> None:
        """Hand it to the thread that has waited longest."""
        with self._change:
            self._hand_on()

    def _leave(self, ticket: Lock) -> None:
        with self._change:
            if ticket in self._queue:
                self._queue.remove(ticket)
            else:
                self._hand_on()

    def _hand_on(self) -> None:
        if self._queue:
            self._queue.popleft().release()
        else:
            self._held = False
