"""A modality whose similarities are the source's own numbers, cosines mostly."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from commonscale.core.failures import FailurePolicy
from commonscale.core.living_documents import Vectors, blocks
from commonscale.core.living_modality import LivingModality
from commonscale.core.question_vectors import question_rows
from commonscale.core.types import Modality, Question, Source
from commonscale.core.unbounded import is_by_text, is_unbounded


class PlainModality(LivingModality):
    """A modality whose similarities are the source's own numbers, cosines mostly."""

    def __init__(
        self,
        modality: Modality,
        source: Source,
        questions: Sequence[Question],
        failures: FailurePolicy,
        identical: float | None = None,
    ) -> None:
        super().__init__(modality, source, questions, failures, identical)
        self._by_vectors = not (is_unbounded(source) or is_by_text(source))
        self._bank: npt.NDArray[np.float32] | None = None

    def fit(self) -> None:
        """Search every question."""
        self.settle()

    def recover(self) -> None:
        """Search every question again."""
        self.hits.renew(range(len(self.hits)), len(self.hits))
        self.settle()

    def add(self, vectors: Vectors | None, _: Vectors, /) -> None:
        """Compare the new documents with the best hits in one product."""
        if vectors is None or not self._by_vectors:
            # Scores of another kind: in BM25 a document changes the scores of all others.
            self.hits.renew(range(len(self.hits)), len(self.hits))
        else:
            for some, rows in blocks(vectors, len(self.hits)):
                if self._bank is None:
                    self._bank = question_rows(self.questions, self.modality, rows.shape[1])
                cosines = np.clip(rows @ self._bank.T, -1.0, 1.0)
                if self.identical is not None:
                    cosines[cosines > self.identical] = -np.inf
                self.hits.take(some, cosines)
        self.settle()

    def remove(self, ids: Collection[str], _: Vectors, /) -> None:
        """Search the questions again whose best hit is gone."""
        if self._by_vectors:
            self.hits.drop(ids)
        else:
            self.hits.renew(range(len(self.hits)), len(self.hits))
        self.settle(ids)

    def ask(self, questions: Sequence[Question], slots: Collection[int]) -> None:
        """Mark the questions that are new."""
        self.questions = tuple(questions)
        self._bank = None
        self.hits.renew(slots, len(questions))
