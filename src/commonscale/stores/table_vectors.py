"""The vectors that a database holds: checked, and read page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from commonscale.core.errors import SourceError, UnreadableVectorsError
from commonscale.core.pages import PAGE, Page, check_size, in_order, picked
from commonscale.core.types import Modality, Vector


class TableVectors:
    """What a source of a database's table gives of the vectors themselves.

    A table that can be read has ``pages(size, with_payloads)``, which yields ``Found`` without numbers of all rows that
    may be found, and ``by_id(ids)``, which gives one ``Found`` of the rows with these ids, as far as they are there.

    Attributes:
        table: the table.
        store_name: what messages call the store.
    """

    table: Any
    store_name: str
    _modality: Modality
    _read: Callable[[str, Any], tuple[str, Any]]
    _own_ids: bool

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield the ids and stored vectors of all documents that can be found, by the store's own cursor.

        Args:
            size: most documents of a page; stores whose answers are large give fewer.

        Raises:
            UnreadableVectorsError: if the store does not give its vectors.
            InvalidInputError: if ``size`` is no number of at least 1.
        """
        pages = getattr(self.table, "pages", None)
        if pages is None:
            raise self._unreadable()
        for found in pages(check_size(size), not self._own_ids):
            if len(found.ids):
                yield self._ids(found), self._held(found)

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the stored vectors (n, d) of documents.

        Raises:
            UnreadableVectorsError: if the store does not give its vectors.
            SourceError: if it does not hold one of the documents.
        """
        called = f"the {self.store_name}"
        read = getattr(self.table, "by_id", None)
        # What the store's ids are is not known where documents have ids of their own.
        if read is None or not self._own_ids:
            return picked(self.scan(), ids, called)
        wanted = list(dict.fromkeys(ids))
        vectors = dict[str, Vector]()
        for start in range(0, len(wanted), PAGE):
            found = read(wanted[start : start + PAGE])
            if len(found.ids):
                vectors.update(zip(map(str, found.ids), self._held(found), strict=True))
        return in_order(vectors, ids, called)

    def _ids(self, found: Any) -> list[str]:
        if self._own_ids:
            return [str(one) for one in found.ids]
        return [self._read(one, payload)[0] for one, payload in zip(found.ids, found.payloads, strict=True)]

    def _held(self, found: Any) -> Vector:
        vectors = matrix_of(self._modality, found.ids, found.vectors)
        if vectors is None:
            raise self._unreadable()
        return vectors

    def _unreadable(self) -> UnreadableVectorsError:
        return UnreadableVectorsError(
            f"the {self.store_name} of modality {self._modality!r} does not give back the vectors that it holds; use a "
            f"method that needs none (method='standardized'), or keep the documents in a store that can be read"
        )


def matrix_of(modality: Modality, ids: Sequence[str], vectors: Sequence[Any] | Vector | None) -> Vector | None:
    """Stack vectors (n, d) as a database returned them; None if it returned none.

    Args:
        modality: for messages.
        ids: the documents' ids.
        vectors: their vectors.

    Raises:
        SourceError: if one is missing, or of another length than the others.
    """
    if vectors is None or (len(vectors) > 0 and all(vector is None for vector in vectors)):
        return None
    try:
        return np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise SourceError(_odd_one(modality, ids, vectors)) from error


def _odd_one(modality: Modality, ids: Sequence[str], vectors: Sequence[Any] | Vector) -> str:
    """Name the document whose vector is missing or unlike the others."""
    lengths = [np.size(vector) if vector is not None else 0 for vector in vectors]
    usual = max(lengths, key=lengths.count)
    odd = next((place for place, length in enumerate(lengths) if length != usual), 0)
    return (
        f"the stored vector of document {ids[odd]!r} (modality {modality!r}) is "
        f"{f'of length {lengths[odd]}' if lengths[odd] else 'missing'}, where others have {usual} numbers; embed that "
        f"document again, or delete it from the store"
    )
