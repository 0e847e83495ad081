"""Searching by corrected similarity over a source that searches by cosine."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from commonscale.core.correction import Correction
from commonscale.core.errors import InvalidInputError, SourceError, StaleCalibrationWarning
from commonscale.core.question_vectors import question_rows
from commonscale.core.scanning import vectors_of
from commonscale.core.sources import check_candidates
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Floats, Modality, Question, Source
from commonscale.core.warn import warn

FETCH = 16
"""Times more hits than wanted that are fetched at first: with 6,000 captions the best ten of 99.7% of the questions
were among 160 then (among 40, of 69%)."""

LEAST = 64
"""Fewest hits that are fetched at first."""

DEEPER = 4
"""Times more that are fetched for questions which that does not settle."""

CONTENDERS = 1024
"""Most documents whose vectors are read to see whether they are among the best, in place of fetching deeper."""

MOST = 10_000
"""Most hits that are fetched for one question. Beyond it the top k is the best of this many nearest documents, no
longer proven: an approximate index would not go deeper either."""


class CorrectedSource:
    """Gives the k documents of highest corrected similarity, from a source that finds those of highest cosine.

    The source is asked with the centred question. What remains to be corrected still changes the order, so more than
    k hits are fetched: until no document that has not been fetched can be among the best k, by the bound that its
    product with the question is at most that of the last one fetched. For a source that is exact the result is the
    exact top k, up to ``MOST`` hits per question, of the documents that the correction knows; one that came later is
    ranked if it is among those fetched. In all else it is as the source.
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
        self._most = most
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
            # Taking may read vectors from a database.
            await off_thread(work.take, await asearch(work.asked(), work.fetch))
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
            if self._settled(place, candidates, rows, float(found[order[-1]]) if len(order) else -np.inf):
                raw = candidates.cosines[order] * self._centered.norms[place] + columns[0, order]
                self._found[place] = _chosen(candidates, order, np.clip(raw, -1.0, 1.0), found[order])
            else:
                rest.append(place)
        self.open = rest
        self.fetch = min(self.fetch * DEEPER, self._most)

    def _settled(self, place: int, candidates: Candidates, rows: npt.NDArray[np.intp], least: float) -> bool:
        """Tell whether no document that was not fetched can be among the best k, of a similarity above ``least``."""
        if len(candidates.ids) < self.fetch or self.fetch >= self._most:
            return True  # Everything was fetched, or as much as is allowed.
        level = float(self._centered.levels[place])
        bounds = self._correction.bounds(float(candidates.cosines[-1]), level)
        bounds[rows[rows >= 0]] = -np.inf
        contenders = np.flatnonzero(bounds > least)
        return not len(contenders) or self._stay_below(contenders, place, level, least)

    def _stay_below(self, contenders: npt.NDArray[np.intp], place: int, level: float, least: float) -> bool:
        """Compute the similarities of documents whose bound does not rule them out, if these are few and readable."""
        if len(contenders) > CONTENDERS or not hasattr(self._source, "vectors_of"):
            return False
        table = self._correction.documents
        try:
            vectors = vectors_of(self._source, [table.ids[row] for row in contenders.tolist()], self._modality)
        except (SourceError, InvalidInputError):
            return False  # Some have been deleted: the source itself tells by a deeper search.
        products = vectors.astype(np.float64) @ self._centered.rows[place].astype(np.float64)
        return bool(self._correction.similarities(products, self._correction.columns(contenders), level).max() <= least)

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
        except (SourceError, InvalidInputError):
            return columns  # They cannot be read, or one has been deleted since it was found.
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
