"""Putting documents into a store that tells of its changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from commonscale.langchain.ingest_batch import Batch, Way
from commonscale.langchain.live_store import LiveVectorStore


def telling(live: LiveVectorStore, way: Way) -> Way:
    """Make the way of a wrapped store one that tells of what was put in.

    Args:
        live: the store that tells.
        way: how the store within it takes documents.

    Returns:
        The same way, to be given ``live`` in place of the store.
    """

    def write(_: Any, batch: Batch) -> None:
        with live.changes.turns.turn():
            memory = live.changes.remember(batch.ids)
            way.write(live.store, batch)
            live.changes.added(batch.ids, batch.vectors, batch.documents, memory)

    def place(_: Any) -> str:
        return way.place(live.store)

    def refuse(_: Any) -> None:
        way.refuse(live.store)

    return replace(way, write=write, place=place, refuse=refuse)
