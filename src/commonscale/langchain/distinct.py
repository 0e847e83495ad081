"""A source whose hits may share an id, as one that gives every id once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from commonscale.core.around import SiftingSource
from commonscale.core.changes import Watchable
from commonscale.core.errors import UnreadableVectorsError
from commonscale.core.pages import PAGE, Page, picked
from commonscale.core.scanning import scan
from commonscale.core.treatments import first_of_each
from commonscale.core.types import Candidates, Vector


class DistinctSource(SiftingSource):
    """Keeps the best hit of every id, where ``id_key`` names what several documents belong to (chunks of a page).

    The source is searched deeper until ``k`` ids are found or no document is left, so the chunks of one page
    never starve the others.
    """

    @property
    def changes(self) -> Watchable | None:
        """Tells when documents come and go, if the source does; an id of the user's own may stand for several."""
        told: Watchable | None = getattr(self._source, "changes", None)
        return None if told is None else replace(told, obstacle="ids are named by id_key=, not by the store")

    def sift(self, found: Candidates, k: int) -> Candidates:
        """Keep the best hit of every id."""
        places = first_of_each(found.ids, range(len(found.ids)), k)
        payloads = found.payloads
        return Candidates(
            [found.ids[place] for place in places],
            found.cosines[np.array(places, dtype=np.intp)],
            None if payloads is None else [payloads[place] for place in places],
        )

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield ids and vectors, where every id stands for one document.

        Raises:
            UnreadableVectorsError: if the source's vectors cannot be read; or if an id stands for several documents,
                of which each question has a best one of its own.
        """
        seen: set[str] = set()
        for ids, vectors in scan(self._source, self._sifted, size):
            twice = next((one for one, times in Counter(ids).items() if times > 1 or one in seen), None)
            if twice is not None:
                raise UnreadableVectorsError(
                    f"in {self._called} the id {twice!r} stands for several documents, so it has no one vector; leave "
                    f"id_key= out, or use a method that needs no vectors (method='standardized')"
                )
            seen.update(ids)
            yield ids, vectors

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the vectors (n, d) of documents; raises as ``scan`` and ``picked``."""
        return picked(self.scan(), ids, self._called)
