"""Searching by corrected similarity over a source that searches by cosine."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from commonscale.core.correction import Correction
from commonscale.core.errors import StaleCalibrationWarning, UnreadableVectorsError
from commonscale.core.question_vectors import question_rows
from commonscale.core.scanning import vectors_of
from commonscale.core.sources import check_candidates
from commonscale.core.types import Candidates, Floats, Modality, Question, Source
from commonscale.core.warn import warn

FETCH = 4
"""Times more hits than wanted that are fetched at first."""

LEAST = 32
"""Fewest hits that are fetched at first."""

MOST = 10_000
"""Most hits that are fetched for one question. Beyond it the top k is the best of this many nearest documents, no
longer proven: an approximate index would not go deeper either."""


class CorrectedSource:
    """Gives the k documents of highest corrected similarity, from a source that finds those of highest cosine.

    The source is asked with the centred question. What remains to be corrected still changes the order, so more than
    k hits are fetched: until no document that has not been fetched can be among the best k, by the bound that its
    product with the question is at most that of the last one fetched. For a source that is exact the result is the
    exact top k, up to ``MOST`` hits per question. In all else it is as the source.
    """

    def __init__(self, source: Source, correction: Correction, modality: Modality, *, most: int = MOST) -> None:
        """Wrap a source.

        Args:
            source: the source.
            correction: its modality's correction.
            modality: the modality.
            most: most hits to fetch for one question.
        """
        self._source = source
        self._correction = correction
        self._modality = modality
        self._most = max(most, LEAST)
        if inspect.iscoroutinefunction(getattr(source, "asearch", None)):
            self.asearch = self._asearch

    @property
    def store_name(self) -> str:
        """Name of the store, for messages."""
        return getattr(self._source, "store_name", None) or type(self._source).__name__

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents of highest similarity; ``cosines`` are the raw ones."""
        if not questions:
            return []
        work = _Work(self._source, questions, k, self._correction, self._modality, self._most)
        while work.open:
            work.take(self._source.search(work.asked(), work.fetch))
        return work.finished()

    async def _asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        asearch: Callable[..., Awaitable[Sequence[Candidates]]] = cast(Any, self._source).asearch
        if not questions:
            return []
        work = _Work(self._source, questions, k, self._correction, self._modality, self._most)
        while work.open:
            work.take(await asearch(work.asked(), work.fetch))
        return work.finished()

    def __getattr__(self, name: str) -> Any:
        # Whether it is remote or concurrent: whatever searches ask of a source.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)


class _Work:
    """The questions of one search, until the top k of each is settled.

    Attributes:
        open: places of the questions that are not settled.
        fetch: how many hits to fetch for them next.
    """

    def __init__(
        self,
        source: Source,
        questions: Sequence[Question],
        k: int,
        correction: Correction,
        modality: Modality,
        most: int,
    ) -> None:
        self._source = source
        self._k = k
        self._correction = correction
        self._modality = modality
        self._most = max(most, k)
        rows = question_rows(questions, modality, len(correction.question_mean))
        self._centered = correction.centered(rows)
        self._questions = [
            replace(q, vector=row, vectors={}) for q, row in zip(questions, self._centered.rows, strict=True)
        ]
        self._found: list[Candidates | None] = [None] * len(questions)
        self.open = list(range(len(questions)))
        self.fetch = min(max(FETCH * k, LEAST), self._most)

    def asked(self) -> list[Question]:
        """Give the questions to ask: those that are not settled, centred."""
        return [self._questions[place] for place in self.open]

    def take(self, answers: Sequence[Candidates]) -> None:
        """Correct what was found, keep what is settled, and go deeper for the rest."""
        check_candidates(answers, len(self.open), self.fetch, self._modality)
        rest = []
        for place, candidates in zip(self.open, answers, strict=True):
            rows = self._correction.documents.rows(candidates.ids)
            columns = self._columns(candidates, rows)
            level = float(self._centered.levels[place])
            found = self._correction.similarities(candidates.cosines, columns, level)
            order = np.argsort(-found, kind="stable")[: self._k]
            if self._settled(candidates, rows, found, order, level):
                raw = candidates.cosines[order] * self._centered.norms[place] + columns[0, order]
                self._found[place] = _chosen(candidates, order, np.clip(raw, -1.0, 1.0), found[order])
            else:
                rest.append(place)
        self.open = rest
        self.fetch = min(self.fetch * FETCH, self._most)

    def _settled(
        self,
        candidates: Candidates,
        rows: npt.NDArray[np.intp],
        found: Floats,
        order: npt.NDArray[np.intp],
        level: float,
    ) -> bool:
        """Tell whether no other document can be among the best k."""
        if len(candidates.ids) < self.fetch or self.fetch >= self._most:
            return True  # Everything was fetched, or as much as is allowed.
        bounds = self._correction.bounds(float(candidates.cosines[-1]), level)
        bounds[rows[rows >= 0]] = -np.inf
        return bool(found[order[-1]] >= bounds.max())

    def _columns(self, candidates: Candidates, rows: npt.NDArray[np.intp]) -> Floats:
        """Give what the correction needs of each document; of unknown ones, as much as their vectors tell."""
        columns = self._correction.columns(rows)
        unknown = np.flatnonzero(rows < 0).tolist()
        if not unknown:
            return columns
        names = [candidates.ids[place] for place in unknown]
        warn(
            f"modality {self._modality!r} has documents that came after the calibration, such as {names[0]!r}; what is "
            f"not known of them is taken to be as of a typical document: calibrate again, or keep the calibration up "
            f"to date",
            StaleCalibrationWarning,
        )
        try:
            vectors = vectors_of(self._source, names, self._modality).astype(np.float64)
        except UnreadableVectorsError:
            return columns
        columns[0, unknown] = vectors @ self._correction.question_mean
        columns[1, unknown] = np.linalg.norm(vectors - self._correction.document_mean, axis=1)
        return columns

    def finished(self) -> list[Candidates]:
        """Give the answers in the order of the questions."""
        return [candidates for candidates in self._found if candidates is not None]


def _chosen(candidates: Candidates, order: npt.NDArray[np.intp], cosines: Floats, similarities: Floats) -> Candidates:
    places = order.tolist()
    payloads = candidates.payloads
    ids = [candidates.ids[place] for place in places]
    return Candidates(ids, cosines, None if payloads is None else [payloads[p] for p in places], similarities)
