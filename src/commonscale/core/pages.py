"""Stored vectors page by page: what sources share when they are read as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.types import Vector

PAGE = 2048
"""Documents on one page, unless somebody says otherwise: 4 MB of vectors at 512 dimensions."""

Page: TypeAlias = tuple[list[str], Vector]
"""Ids (n), and their stored vectors (n, d) of any norm."""


def check_size(size: int) -> int:
    """Give the size of a page.

    Raises:
        InvalidInputError: if it is no number of at least 1.
    """
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise InvalidInputError(f"size must be an integer >= 1, got {size!r}")
    return int(size)


def matrix_pages(ids: Sequence[str], vectors: Vector, size: int) -> Iterator[Page]:
    """Cut a matrix (n, d) that lies in memory into pages.

    Args:
        ids: the ids of its rows.
        vectors: the matrix; pages are views of it that nobody may change.
        size: most rows of a page.
    """
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size]), vectors[start : start + size]


def picked(pages: Iterable[Page], ids: Sequence[str], store: str) -> Vector:
    """Find the vectors (n, d) of some ids among pages, reading no further than needed.

    Args:
        pages: what is read.
        ids: which ones; one may be named twice.
        store: what messages call the store.

    Raises:
        SourceError: if one is on no page.
    """
    wanted, found = set(ids), dict[str, Vector]()
    if wanted:
        for names, rows in pages:
            found.update((name, row) for name, row in zip(names, rows, strict=True) if name in wanted)
            if len(found) == len(wanted):
                break
    return in_order(found, ids, store)


def in_order(found: dict[str, Vector], ids: Sequence[str], store: str) -> Vector:
    """Stack vectors (n, d) in the order of their ids.

    Args:
        found: vectors by id.
        ids: which ones.
        store: what messages call the store.

    Raises:
        SourceError: if one is missing, or they are of different lengths.
    """
    missing = [name for name in ids if name not in found]
    if missing:
        raise SourceError(
            f"{store} holds no vector of the document {missing[0]!r} ({len(missing)} of {len(ids)} ids are unknown); "
            f"it may have been deleted, or belong to another modality or outside the filter"
        )
    if not ids:
        return np.empty((0, 0), np.float32)
    try:
        return np.stack([np.asarray(found[name], dtype=np.float32) for name in ids])
    except ValueError as error:
        raise SourceError(f"the vectors in {store} are not all of one length: {error}") from error
