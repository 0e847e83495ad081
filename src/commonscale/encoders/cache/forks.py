"""Closing databases before a process forks: SQLite's locks belong to a process, and a copied connection loses them.

A child that went on with its parent's connection, or merely opened the same file beside it, could damage the file
(sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Closable(Protocol):
    """Something with a connection that is opened again when it is needed."""

    lock: threading.Lock

    def disconnect(self) -> None:
        """Close the connection; the caller holds the lock."""
        ...


_ALL: WeakSet[Closable] = WeakSet()
_HELD: list[Closable] = []


def close_before_forks(store: Closable) -> None:
    """Close the connection of this store before every fork from now on; its threads wait meanwhile."""
    _ALL.add(store)


def _before() -> None:
    for store in list(_ALL):
        store.lock.acquire()
        _HELD.append(store)
        store.disconnect()


def _after() -> None:
    while _HELD:
        _HELD.pop().lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
