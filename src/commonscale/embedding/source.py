"""Exact search over shards, without an index: enough to calibrate on a corpus that no memory holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from commonscale.core.calibration import Provenance
from commonscale.core.dense import nearest
from commonscale.core.errors import InvalidInputError
from commonscale.core.pages import PAGE, Page, check_size, picked
from commonscale.core.question_vectors import question_rows
from commonscale.core.types import Candidates, Modality, Probe, Question, Vector
from commonscale.embedding.records import ShardBatch
from commonscale.embedding.shards import Shards

if TYPE_CHECKING:
    from commonscale.index.document import Document

_ROWS = 16_384  # documents compared at once


class ShardSource:
    """Searches one modality of shards by reading all of them: for many questions at once, as calibration asks.

    One pass over the shards answers any number of questions; memory holds one batch of documents. Payloads are
    Documents as an index has them.

    Attributes:
        shards: the shards.
        modality: the modality.
    """

    needs_check: ClassVar[bool] = False
    """Its numbers are cosines of unit vectors by construction, so it is verified on demand only."""

    def __init__(self, shards: Shards, modality: Modality) -> None:
        self.shards = shards
        self.modality = modality

    @classmethod
    def all_of(cls, shards: Shards) -> dict[Modality, ShardSource]:
        """Give a source for every modality that has documents, as ``JointSearch`` and ``QuestionBank`` take them."""
        return {modality: cls(shards, modality) for modality, count in shards.counts.items() if count}

    @staticmethod
    def provenance(shards: Shards) -> Mapping[Modality, Provenance]:
        """Say where each modality's cosines come from, for ``JointSearch`` and ``Calibration``."""
        known = Provenance(shards.fingerprint, shards.dimension, "cosine")
        return {modality: known for modality, count in shards.counts.items() if count}

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents closest to each question, exactly; equal cosines in the order of the shards.

        Args:
            questions: any number.
            k: hits per question, at least 1.

        Returns:
            One Candidates per question with ``min(k, documents)`` hits.

        Raises:
            InvalidInputError: if ``k`` or a question's vector cannot be used.
            FileFormatError: if a part is damaged.
        """
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InvalidInputError(f"k must be an integer >= 1, got {k!r}")
        if not questions:
            return []
        best = _Best(question_rows(questions, self.modality, self.shards.dimension), int(k))
        for batch in self.shards.batches(_ROWS, self.modality):
            best.compare(batch)
        return best.candidates()

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the cosines beside the stored vectors, for verifying on demand."""
        found = self.search(questions, k)
        wanted = {key for candidates in found for key in candidates.ids}
        stored: dict[str, Vector] = {}
        for batch in self.shards.batches(_ROWS, self.modality):
            stored.update((key, row) for key, row in zip(batch.ids, batch.vectors, strict=True) if key in wanted)
        empty = np.empty((0, self.shards.dimension), np.float32)
        return [
            Probe(c.ids, c.cosines, np.stack([stored[key] for key in c.ids]) if c.ids else empty, "cosine")
            for c in found
        ]

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield the ids and unit vectors of all documents, ``size`` at a time, in the order of the shards.

        Raises:
            InvalidInputError: if ``size`` is no number of at least 1.
            FileFormatError: if a part is damaged.
        """
        for batch in self.shards.batches(check_size(size), self.modality):
            yield list(batch.ids), batch.vectors

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the unit vectors (n, d) of documents, in one pass over the shards; raises as ``picked``."""
        return picked(self.scan(_ROWS), ids, "this folder of shards")


class _Best:
    """The best documents so far of every question."""

    def __init__(self, questions: npt.NDArray[np.float32], k: int) -> None:
        self._questions = questions
        self._k = k
        self._cosines = np.empty((len(questions), 0))
        self._rows = np.empty((len(questions), 0), dtype=np.int64)
        self._documents: dict[int, Document] = {}
        self._seen = 0

    def compare(self, batch: ShardBatch) -> None:
        """Let a batch of documents compete."""
        rows, cosines = nearest(batch.vectors, self._questions, self._k)
        first, self._seen = self._seen, self._seen + len(batch)
        cosines = np.concatenate([self._cosines, cosines], axis=1)
        rows = np.concatenate([self._rows, rows + first], axis=1)
        # Stable, with the earlier documents first: equal cosines stay in the order of the shards.
        order = np.argsort(-cosines, axis=1, kind="stable")[:, : self._k]
        self._cosines = np.take_along_axis(cosines, order, axis=1)
        self._rows = np.take_along_axis(rows, order, axis=1)
        alive = np.unique(self._rows).tolist()
        fresh = {row: _document(batch, row - first) for row in alive if row >= first}
        self._documents = {row: self._documents[row] for row in alive if row < first} | fresh

    def candidates(self) -> list[Candidates]:
        """Give the hits of every question."""
        found = [[self._documents[row] for row in rows] for rows in self._rows.tolist()]
        return [
            Candidates([document.id for document in documents], cosines, documents)
            for documents, cosines in zip(found, self._cosines, strict=True)
        ]


def _document(batch: ShardBatch, row: int) -> Document:
    from commonscale.index.document import Document

    return Document(batch.ids[row], batch.modalities[row], batch.texts[row], batch.paths[row], batch.metadata[row])
