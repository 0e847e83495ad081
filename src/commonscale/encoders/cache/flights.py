"""Which vectors are being computed now, so that threads that share a cache compute, and pay for, each of them once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from weakref import WeakSet


class Flights:
    """The keys whose vectors are on their way.

    A thread waits only while none of its own keys is in flight, so that no two can wait for each other.
    """

    def __init__(self) -> None:
        self.forget()
        _ALL.add(self)

    def begin(self, keys: Iterable[bytes]) -> set[bytes]:
        """Take over those keys that are not in flight; whoever does must ``end`` them.

        Args:
            keys: any number.

        Returns:
            Those that were taken over.
        """
        with self._landed:
            mine = {key for key in keys if key not in self._keys}
            self._keys |= mine
            return mine

    def end(self, keys: set[bytes]) -> None:
        """Tell that these are computed and stored, or failed."""
        with self._landed:
            self._keys -= keys
            self._landed.notify_all()

    def wait(self, keys: set[bytes]) -> None:
        """Return when none of these is in flight."""
        with self._landed:
            self._landed.wait_for(lambda: self._keys.isdisjoint(keys))

    def forget(self) -> None:
        """Start anew: a forked process has none of the threads that would end the flights."""
        self._landed = threading.Condition()
        self._keys: set[bytes] = set()


_ALL: WeakSet[Flights] = WeakSet()


def _forget_all() -> None:
    for flights in list(_ALL):
        flights.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
