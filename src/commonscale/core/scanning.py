"""Reading the vectors that a source's store holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from commonscale.core.attempts import described, store_name, unavailable
from commonscale.core.dense import unit_rows
from commonscale.core.errors import SourceError, UnreadableVectorsError
from commonscale.core.failures import FailurePolicy
from commonscale.core.passing import is_passing
from commonscale.core.types import Modality, Vector

T = TypeVar("T")

SCAN = 2048
"""Documents that are asked for at once."""


def scan(source: Any, modality: Modality, size: int = SCAN) -> Iterator[tuple[list[str], Vector]]:
    """Read every document's vector from a source.

    Args:
        source: the source.
        modality: its modality, for messages.
        size: most documents of a batch.

    Yields:
        Ids as its ``search`` gives them, and unit vectors (n, d).

    Raises:
        UnreadableVectorsError: if the source has no ``scan``, or its store does not give vectors.
        SourceUnavailableError: if its store cannot be reached or does not answer in time.
        SourceError: if it gives ids and vectors that do not fit, or a vector that is null or not finite.
    """
    read = getattr(source, "scan", None)
    if read is None:
        raise _unreadable(source, modality)
    batches = iter(_told(lambda: read(size), source, modality))
    while (batch := _told(lambda: next(batches, None), source, modality)) is not None:
        ids, vectors = batch
        yield list(ids), _checked(ids, vectors, source, modality)


def vectors_of(source: Any, ids: Sequence[str], modality: Modality) -> Vector:
    """Read the unit vectors (n, d) of some documents.

    Raises:
        UnreadableVectorsError: if the source cannot.
        SourceError: as ``scan``.
    """
    read = getattr(source, "vectors_of", None)
    if read is None:
        raise _unreadable(source, modality)
    return _checked(ids, _told(lambda: read(ids), source, modality), source, modality)


def _told(read: Callable[[], T], source: Any, modality: Modality) -> T:
    """Read, and say of a server that is down or slow which one it is."""
    try:
        return read()
    except Exception as error:
        if not is_passing(error):
            raise
        raise unavailable(source, modality, error, 1, FailurePolicy()) from error


def _checked(ids: Sequence[str], vectors: Any, source: Any, modality: Modality) -> Vector:
    rows = np.asarray(vectors)
    if rows.ndim != 2 or len(rows) != len(ids):
        raise SourceError(
            f"the {store_name(source)} of modality {modality!r} gave {len(ids)} ids with vectors of shape "
            f"{rows.shape}; a matrix (n, d) with one row per id is needed"
        )
    try:
        return unit_rows(rows, "stored vector")
    except ValueError as error:
        raise SourceError(f"the {store_name(source)} of modality {modality!r}: {described(error)}") from error


def _unreadable(source: Any, modality: Modality) -> UnreadableVectorsError:
    return UnreadableVectorsError(
        f"the {store_name(source)} of modality {modality!r} does not give back the vectors that it holds, which this "
        f"method needs; calibrate with method='standardized', which needs none, or keep the documents in a store that "
        f"can be read (see docs/stores.md)"
    )
