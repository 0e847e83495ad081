"""A modality whose similarities are centred, and for the chance level corrected for hubs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from commonscale.core.background import Background
from commonscale.core.corrected import CorrectedSource
from commonscale.core.correction import HUB_WEIGHT, Correction
from commonscale.core.failures import FailurePolicy
from commonscale.core.fitting import question_mean
from commonscale.core.living_documents import LivingDocuments, Vectors
from commonscale.core.living_hits import LivingHits
from commonscale.core.living_lens import Lens, NoDirectionError
from commonscale.core.living_modality import LivingModality
from commonscale.core.question_vectors import question_rows
from commonscale.core.scanning import scan
from commonscale.core.types import Floats, Modality, Question, Source, Vector

YOUNG = 100
"""Documents below which a mean is too rough to be kept: a smaller modality is centred anew whenever it has doubled."""


class CorrectedModality(LivingModality):
    """Keeps what the documents add up to. The means that are subtracted stay those of the last fit."""

    def __init__(
        self,
        modality: Modality,
        source: Source,
        questions: Sequence[Question],
        failures: FailurePolicy,
        *,
        chance: bool,
        keep_vectors: bool = False,
        identical: float | None = None,
    ) -> None:
        """Begin without documents.

        Args:
            modality: its label.
            source: what finds its documents, and gives their vectors.
            questions: the bank, at least one.
            failures: how to ask the source.
            chance: whether hub scores are subtracted and the background is kept.
            keep_vectors: whether to keep the documents' vectors, so that nobody needs to give those of documents
                that are replaced or removed.
            identical: documents of a higher cosine are the question itself; None for none.
        """
        super().__init__(modality, source, questions, failures, identical)
        self._chance = chance
        self._keep = keep_vectors
        self.documents: LivingDocuments | None = None
        self.centered_on = 0
        self.hits.settle(range(len(questions)))

    @property
    def correction(self) -> Correction | None:
        """From cosines to similarities, with the table as it is now."""
        known = self.documents
        if known is None:
            return None
        weight = HUB_WEIGHT if self._chance else 0.0
        return Correction(known.lens.question_mean, known.lens.document_mean, known.table.snapshot(), weight)

    @property
    def background(self) -> Background | None:
        """From the sums over all documents."""
        levels = self.levels
        if self.documents is None or levels is None:
            return None
        means, stds = levels
        return Background(float(means.mean()), float(stds.mean()), self.documents.distinct.count)

    @property
    def levels(self) -> tuple[Floats, Floats] | None:
        """Mean and standard deviation of each question's similarities with all documents."""
        return self.documents.levels() if self.documents is not None and self._chance else None

    @property
    def reference(self) -> Floats:
        """The best similarities (C,) with hub scores to which the question itself does not add."""
        return self.hits.found if self.documents is None else self.documents.unbanked()

    @property
    def shift(self) -> float:
        """How far the mean of the documents has moved from the one that is subtracted."""
        known = self.documents
        return 0.0 if known is None else float(np.linalg.norm(known.total / len(known) - known.lens.document_mean))

    def fit(self) -> None:
        """Take the means of all documents, and read them again with these."""
        total, count = np.zeros(0), 0
        for _, rows in scan(self.source, self.modality):
            if len(rows):
                added = rows.sum(axis=0, dtype=np.float64)
                total, count = (total + added if count else added), count + len(rows)
        if not count:
            self._forget()
            return
        rows = question_rows(self.questions, self.modality, len(total))
        asked = question_mean(rows)
        try:
            self._read(self._lens(rows, asked, total / count))
        except NoDirectionError:
            # One document, or equal ones, are their own mean, from which they have no direction: there is nothing to
            # subtract until others come.
            self._read(self._lens(rows, asked, np.zeros(len(total))))
        self.centered_on = count

    def recover(self) -> None:
        """Read all documents again."""
        if self.documents is None:
            self.fit()
            return
        try:
            self._read(self._same_lens(self.documents))
        except NoDirectionError:
            self.fit()

    def add(self, vectors: Vectors | None, before: Vectors, /) -> None:
        """Take in documents, by one product with the bank."""
        known = self.documents
        try:
            if known is None or self._outgrown(vectors or ()):
                self.fit()
            elif vectors is None or not known.add(vectors, before):
                self._read(known.lens)
        except NoDirectionError:
            self.fit()
        self.settle()

    def remove(self, ids: Collection[str], before: Vectors, /) -> None:
        """Let go of documents, and search the questions again whose best hit is gone."""
        known = self.documents
        gone = [] if known is None else [key for key in dict.fromkeys(ids) if key in known.table]
        if known is None or not gone:
            return
        if len(gone) == len(known):
            self._forget()
        elif known.remove(gone, before):
            self.settle(gone)
        else:
            self._read(known.lens, gone)

    def ask(self, questions: Sequence[Question], slots: Collection[int]) -> None:
        """Mark the questions that are new; for the chance level everything, since hub scores change."""
        self.questions = tuple(questions)
        known = self.documents
        if known is None:
            self._forget()
        elif self._chance:
            self.stale = True
        else:
            known.ask(self._same_lens(known), slots)

    def state(self) -> dict[str, Any]:
        """Give what was learned, with the documents."""
        documents = None if self.documents is None else self.documents.state()
        return super().state() | {"documents": documents, "centered_on": self.centered_on}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what ``state`` gave for what was learned."""
        super().restore(state)
        self.centered_on = int(state["centered_on"])
        if (known := state["documents"]) is not None:
            rows = question_rows(self.questions, self.modality, len(known["document_mean"]))
            lens = self._lens(rows, known["question_mean"], known["document_mean"])
            self.documents = LivingDocuments.restored(known, lens, self.hits, keep=self._keep)

    def needs(self, ids: Collection[str], /) -> list[str]:
        """Tell which documents' vectors must be known before they are replaced or removed."""
        known = self.documents
        if known is None or not self._chance or self._keep:
            return []
        return [key for key in ids if key in known.table]

    def searching(self, source: Source) -> Source:
        """Give the source that finds documents by similarity."""
        correction = self.correction
        return source if correction is None else CorrectedSource(source, correction, self.modality)

    def _lens(self, rows: Vector, question_mean: Floats, document_mean: Floats) -> Lens:
        return Lens.over(rows, question_mean, document_mean, chance=self._chance, identical=self.identical)

    def _same_lens(self, known: LivingDocuments) -> Lens:
        """Give the means of now, with the bank of now."""
        rows = question_rows(self.questions, self.modality, len(known.lens.document_mean))
        return self._lens(rows, known.lens.question_mean, known.lens.document_mean)

    def _outgrown(self, ids: Collection[str]) -> bool:
        """Tell whether the means are of so few documents that they must not be kept now that there are more."""
        known = self.documents
        if known is None or self.centered_on >= YOUNG:
            return False
        return len(known) + sum(key not in known.table for key in set(ids)) >= 2 * self.centered_on

    def _read(self, lens: Lens, gone: Collection[str] = ()) -> None:
        """Read all documents anew with these means, without some that are about to go."""
        read = LivingDocuments(lens, keep=self._keep)
        left_out = frozenset(gone)
        for ids, rows in scan(self.source, self.modality):
            read.add({key: row for key, row in zip(ids, rows, strict=True) if key not in left_out}, {})
        self.scans += 1
        if not len(read):
            self._forget()
            return
        read.hits.settle(range(len(self.questions)))
        self.documents, self.hits = read, read.hits

    def _forget(self) -> None:
        """Be without documents: the next ones are centred by themselves."""
        self.documents = None
        self.centered_on = 0
        self.hits = LivingHits(len(self.questions))
        self.hits.settle(range(len(self.questions)))
