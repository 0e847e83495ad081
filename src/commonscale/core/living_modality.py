"""One modality of a living calibration: what its documents and a bank of questions say of each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from commonscale.core.around import SiftingSource
from commonscale.core.background import Background
from commonscale.core.correction import Correction
from commonscale.core.errors import InvalidInputError
from commonscale.core.failures import FailurePolicy
from commonscale.core.living_documents import Vectors
from commonscale.core.living_hits import LivingHits
from commonscale.core.sources import checked_search
from commonscale.core.types import Candidates, Floats, Modality, Question, Source
from commonscale.core.unbounded import is_unbounded


class LivingModality(ABC):
    """What is known of one modality.

    Attributes:
        modality: its label.
        source: what finds its documents.
        questions: the banked questions.
        hits: their best hits.
        searched: how many questions have been searched again, because their best hit was gone or they were new.
        scans: how many times all documents have been read anew.
        identical: documents of a higher cosine are the question itself (see ``IDENTICAL``); None for none.
        stale: whether an update failed half-way, so that everything must be learned anew.
    """

    def __init__(
        self,
        modality: Modality,
        source: Source,
        questions: Sequence[Question],
        failures: FailurePolicy,
        identical: float | None = None,
    ) -> None:
        """Begin without documents; ``fit`` looks at those that are there."""
        self.modality = modality
        self.source = source
        self.questions = tuple(questions)
        self.hits = LivingHits(len(questions))
        self.searched = 0
        self.scans = 0
        self.stale = False
        self.identical = identical
        self._failures = failures

    @abstractmethod
    def fit(self) -> None:
        """Learn everything from the source."""

    @abstractmethod
    def recover(self) -> None:
        """Learn everything anew but the means, after an update that failed half-way."""

    @abstractmethod
    def add(self, vectors: Vectors | None, before: Vectors, /) -> None:
        """Take in documents that were added or replaced, and are in the source now.

        Args:
            vectors: theirs; None if they are not known, and then everything is learned anew.
            before: the vectors of those that were replaced, as far as they are known.
        """

    @abstractmethod
    def remove(self, ids: Collection[str], before: Vectors, /) -> None:
        """Let go of documents.

        Args:
            ids: their ids; the source may still find them, or not any more.
            before: their vectors, as far as they are known.
        """

    @abstractmethod
    def ask(self, questions: Sequence[Question], slots: Collection[int]) -> None:
        """Change the bank, and mark what ``recover`` or ``settle`` must find out.

        Args:
            questions: all of the bank.
            slots: which of them are new.
        """

    def state(self) -> dict[str, Any]:
        """Give what was learned, as arrays and values that JSON can hold."""
        return {"hits": self.hits.state(), "stale": self.stale}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what ``state`` gave for what was learned."""
        self.hits, self.stale = LivingHits.restored(state["hits"]), bool(state["stale"])
        # One that is stale has not searched the newest questions yet.
        if not self.stale and len(self.hits) != len(self.questions):
            raise InvalidInputError(f"there are best hits for {len(self.hits)} of {len(self.questions)} questions")

    def needs(self, _: Collection[str], /) -> list[str]:
        """Tell which documents' vectors must be known before they are replaced or removed."""
        return []

    @property
    def correction(self) -> Correction | None:
        """From cosines to similarities; None if they are the cosines."""
        return None

    @property
    def background(self) -> Background | None:
        """The similarities of all documents, for chance-level calibration."""
        return None

    @property
    def levels(self) -> tuple[Floats, Floats] | None:
        """Mean and standard deviation of each question's similarities with all documents; None without background."""
        return None

    @property
    def reference(self) -> Floats:
        """The best similarities (C,) that the questions would have if they only asked; NaN where there is none."""
        return self.hits.found

    @property
    def shift(self) -> float:
        """How far the mean of the documents has moved from the one that is subtracted; 0 if none is."""
        return 0.0

    def settle(self, gone: Collection[str] = ()) -> None:
        """Search the questions that have no best hit any more.

        Args:
            gone: documents that do not count, even if the source still finds them.

        Raises:
            SourceError: if the source fails; the questions stay marked, and are searched the next time.
        """
        slots = sorted(self.hits.lost)
        if not slots:
            return
        source = self.searching(_Sifted(self.source, self.modality, gone=gone) if gone else self.source)
        if self.identical is not None and not is_unbounded(source):
            source = _Sifted(source, self.modality, identical=self.identical)
        asked = [self.questions[slot] for slot in slots]
        found = checked_search(source, asked, 1, self.modality, self._failures)
        for slot, candidates in zip(slots, found, strict=True):
            if len(candidates.ids):
                values = candidates.cosines if candidates.similarities is None else candidates.similarities
                self.hits.set(slot, candidates.ids[0], float(values[0]))
            else:
                self.hits.set(slot, None, -np.inf)
        self.hits.settle(slots)
        self.searched += len(slots)

    def searching(self, source: Source) -> Source:
        """Give the source that finds documents by similarity."""
        return source


class _Sifted(SiftingSource):
    """A source without documents that it still holds, or without those that are the question itself."""

    def __init__(
        self, source: Source, modality: Modality, *, gone: Collection[str] = (), identical: float = np.inf
    ) -> None:
        super().__init__(source, modality)
        self._gone = frozenset(gone)
        self._identical = identical

    def sift(self, found: Candidates, k: int) -> Candidates:
        """Leave out the documents that do not count."""
        known = zip(found.ids, found.cosines.tolist(), strict=True)
        places = [i for i, (key, cosine) in enumerate(known) if key not in self._gone and cosine <= self._identical][:k]
        similarities = None if found.similarities is None else found.similarities[places]
        return Candidates([found.ids[place] for place in places], found.cosines[places], None, similarities)
