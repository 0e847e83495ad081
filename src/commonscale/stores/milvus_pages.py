"""All rows of a Milvus collection, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_MOST = 1000
"""Rows in one answer: a server sends 64 MB at most."""


def iterated(client: Any, size: int, asked: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Read rows by the client's own iterator.

    Args:
        client: a ``pymilvus.MilvusClient``.
        size: most rows of a page.
        asked: collection, filter, fields and partitions, as ``query`` takes them.
    """
    iterator = client.query_iterator(batch_size=min(size, _MOST), **asked)
    try:
        while rows := iterator.next():
            yield list(rows)
    finally:
        iterator.close()
