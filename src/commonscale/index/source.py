"""One modality of an index as a source of a joint search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from commonscale.core.changes import Watchable
from commonscale.core.pages import PAGE, Page
from commonscale.core.types import Candidates, Modality, Probe, Question, Vector

if TYPE_CHECKING:
    from commonscale.index.document import Document
    from commonscale.index.memory import MemoryIndex


class IndexSource:
    """Searches one modality of a ``MemoryIndex``; payloads are its Documents.

    A live view: documents added or deleted later are found, or not, by the next search.

    Attributes:
        index: the index.
        modality: the modality.
    """

    concurrent: ClassVar[bool] = True
    """May be searched beside other sources: the index takes any number of searching threads."""

    def __init__(self, index: MemoryIndex, modality: Modality) -> None:
        self.index = index
        self.modality = modality

    @property
    def changes(self) -> Watchable:
        """Tells when documents of the modality come and go."""
        return Watchable(self.index.changes, lambda modality: bool(modality == self.modality))

    needs_check: ClassVar[bool] = False
    """Its numbers are cosines of unit vectors by construction, so it is verified on demand only."""

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the cosines beside the stored vectors, for verifying on demand."""
        found = self.search(questions, k)
        return [Probe(c.ids, c.cosines, self.index.vectors(c.ids), "cosine") for c in found]

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents closest to each question, in one FAISS call (see ``MemoryIndex.search``)."""
        return self.index.search(questions, self.modality, k)

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield the ids and unit vectors of all documents, ``size`` at a time (see ``MemoryIndex.scan``)."""
        return self.index.scan(self.modality, size)

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the unit vectors (n, d) of documents; raises ``InvalidInputError`` if one is not in the index."""
        return self.index.vectors(ids)

    def payloads_of(self, ids: Sequence[str]) -> list[Document | None]:
        """Give the documents of ids, None for one that is not there any more."""
        return [self.index.get(key) for key in ids]
