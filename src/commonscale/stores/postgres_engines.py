"""Reaching a PostgreSQL server through the SQLAlchemy engines that a store has, on few connections at once."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool, QueuePool

from commonscale.core.concurrency import ASKED_AT_ONCE, amap_bounded, map_bounded
from commonscale.core.threads import off_thread
from commonscale.core.types import Vector

T = TypeVar("T")

Work = Callable[[Any, Vector], list[T]]
"""Asks a few questions on one (synchronous) connection."""

_BLOCK = 16
"""Most questions that are asked on one connection before it is given back: others may be waiting for it."""


class Engines(NamedTuple):
    """How a store reaches its server.

    Attributes:
        sync: its SQLAlchemy engine, if it has one.
        asynchronous: its ``AsyncEngine``, if it has one.
        loop: the event loop, running in a thread of its own, that the asynchronous engine belongs to; None if that is
            the caller's loop.
    """

    sync: Any = None
    asynchronous: Any = None
    loop: asyncio.AbstractEventLoop | None = None

    def ask(self, work: Work[T], rows: Vector) -> list[T]:
        """Do work for all rows and wait for it."""
        if self.sync is not None:
            engine, workers = self.sync, _workers(self.sync)

            def one(block: Vector) -> list[T]:
                with engine.connect() as connection:
                    return work(connection, block)

            return _joined(map_bounded(one, _blocks(rows, workers), workers))
        if self.loop is None:
            # The engine's own connections belong to whatever event loop it is used in, which may be the one that
            # waits here: so with connections, and a loop, of one's own.
            with ThreadPoolExecutor(1, thread_name_prefix="commonscale-postgres") as alone:
                return alone.submit(asyncio.run, _over(_unpooled(self.asynchronous), work, rows)).result()
        asked = asyncio.run_coroutine_threadsafe(_over(self.asynchronous, work, rows), self.loop)
        try:
            return asked.result()
        except BaseException:
            asked.cancel()
            raise

    async def aask(self, work: Work[T], rows: Vector) -> list[T]:
        """Do work for all rows through the asynchronous engine where it can be used, else in a thread."""
        if self.loop is not None:
            asked = asyncio.run_coroutine_threadsafe(_over(self.asynchronous, work, rows), self.loop)
            return await asyncio.wrap_future(asked)
        if self.asynchronous is not None and _belongs_here(self.asynchronous):
            return await _over(self.asynchronous, work, rows)
        return await off_thread(self.ask, work, rows)


async def _over(engine: AsyncEngine, work: Work[T], rows: Vector) -> list[T]:
    workers = _workers(engine)

    async def one(block: Vector) -> list[T]:
        async with engine.connect() as connection:
            return await connection.run_sync(work, block)

    return _joined(await amap_bounded(one, _blocks(rows, workers), workers))


def _unpooled(engine: AsyncEngine) -> AsyncEngine:
    """Give an engine that connects as this one does, and keeps no connection."""
    known = engine.sync_engine
    pool = NullPool(known.pool._creator, dialect=known.dialect, _dispatch=known.pool.dispatch)
    return AsyncEngine(Engine(pool, known.dialect, known.url))


_LOOPS: weakref.WeakKeyDictionary[Any, weakref.ref[asyncio.AbstractEventLoop]] = weakref.WeakKeyDictionary()
_LOOPS_LOCK = Lock()


def _belongs_here(engine: Any) -> bool:
    """Tell whether an asynchronous engine may be used in the running loop: pooled connections only know their first."""
    if isinstance(engine.pool, NullPool):
        return True
    loop = asyncio.get_running_loop()
    with _LOOPS_LOCK:
        return _LOOPS.setdefault(engine.sync_engine, weakref.ref(loop))() is loop


def on_loop() -> bool:
    """Tell whether this thread runs an event loop, which must not be kept waiting."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _workers(engine: Any) -> int:
    """Give how many connections may be used at once: what the pool keeps, never its reserve."""
    if isinstance(engine.pool, QueuePool):
        return min(ASKED_AT_ONCE, engine.pool.size() or ASKED_AT_ONCE)
    return ASKED_AT_ONCE if isinstance(engine.pool, NullPool) else 1


def _blocks(rows: Vector, workers: int) -> list[Vector]:
    size = max(1, min(_BLOCK, -(-len(rows) // workers)))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _joined(blocks: list[list[T]]) -> list[T]:
    return [answer for block in blocks for answer in block]
