"""What methods that need the documents' vectors learn from a bank of questions, in passes over each source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.background import Background
from commonscale.core.centering import centered_rows
from commonscale.core.correction import HUB_WEIGHT, Correction, DocumentTable
from commonscale.core.duplicates import DistinctCount
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.own_documents import OwnDocuments
from commonscale.core.question_vectors import question_rows
from commonscale.core.scanning import scan
from commonscale.core.statistics import SMALLEST_STD
from commonscale.core.types import Floats, Modality, Question, Vector

NEIGHBORS = 10
"""Banked questions whose similarities a hub score averages (the k of CSLS)."""

_HELD = 1 << 26  # numbers of a source that are kept between the two passes: 256 MiB of float32

Batch = tuple[list[str], Vector]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What was learned of one modality.

    Attributes:
        correction: from cosines to similarities.
        background: their background; None for centring alone, or without documents.
        best_ids: each question's best document by similarity (C), None without documents.
        best: its similarity (C,), NaN without documents.
        means: mean of each question's similarities with all documents (C,); None without a background.
        stds: their standard deviation (C,).
    """

    correction: Correction | None
    background: Background | None
    best_ids: tuple[str | None, ...]
    best: Floats
    means: Floats | None = None
    stds: Floats | None = None


def fit_modality(
    questions: Sequence[Question],
    source: Any,
    modality: Modality,
    *,
    hubs: bool,
    identical: float | None = None,
) -> Fitted:
    """Learn means, hub scores, background and best hits of one modality.

    Args:
        questions: the bank, at least one.
        source: the modality's source; its store's vectors must be readable.
        modality: the modality.
        hubs: whether similarities are corrected for hubs and the background is taken (chance level); otherwise
            cosines are centred only.
        identical: documents of a higher cosine are the question itself, and teach nothing about it (see
            ``IDENTICAL``); None for none.

    Returns:
        What was learned.

    Raises:
        UnreadableVectorsError: if the vectors cannot be read.
        SourceError: if there are none where there were some before.
    """
    documents = _Twice(source, modality)
    total, count = _sum(documents)
    if total is None:
        empty = np.full(len(questions), np.nan)
        return Fitted(None, None, (None,) * len(questions), empty)
    bank = question_rows(questions, modality, len(total))
    means = question_mean(bank), total / count
    weight = HUB_WEIGHT if hubs else 0.0
    try:
        pass_ = _passed(documents, ModalityPass(bank, *means, weight, identical))
    except InvalidInputError:
        # One document, or equal ones, are their own mean, from which they have no direction: nothing is subtracted.
        pass_ = _passed(documents, ModalityPass(bank, means[0], np.zeros(len(total)), weight, identical))
    return pass_.fitted(background=hubs)


def question_mean(bank: Vector) -> Floats:
    """Give the mean of the banked questions; null if one of them is the mean, as a single one is."""
    mean: Floats = bank.mean(axis=0, dtype=np.float64)
    return mean if (np.linalg.norm(bank - mean, axis=1) > SMALLEST_STD).all() else np.zeros(len(mean))


def _passed(documents: Iterable[Batch], pass_: ModalityPass) -> ModalityPass:
    for ids, vectors in documents:
        pass_.add(ids, vectors)
    return pass_


def hub_scores(similarities: npt.NDArray[np.floating[Any]]) -> Floats:
    """Give each document's mean similarity with the ``NEIGHBORS`` questions closest to it.

    Args:
        similarities: shape (n, C) of n documents with the C banked questions.

    Returns:
        Hub scores (n,), float64; over all questions if there are fewer.
    """
    depth = min(NEIGHBORS, similarities.shape[1])
    top = np.partition(similarities, similarities.shape[1] - depth, axis=1)[:, similarities.shape[1] - depth :]
    # Sorted, so that the sum does not depend on the order in which a partition leaves them.
    means: Floats = np.sort(top, axis=1).mean(axis=1, dtype=np.float64)
    return means


class ModalityPass:
    """One pass over a modality's documents: their table, the sums of the background, and the best hits."""

    def __init__(
        self,
        bank: Vector,
        question_mean: Floats,
        document_mean: Floats,
        hub_weight: float,
        identical: float | None = None,
    ) -> None:
        """Begin the pass.

        Args:
            bank: unit vectors (C, d) of the questions.
            question_mean: mean of unit question vectors (d,).
            document_mean: mean of the unit document vectors (d,).
            hub_weight: weight of hub scores; 0 for none.
            identical: see ``fit_modality``.
        """
        self._own = OwnDocuments(bank, identical)
        self._bank = centered_rows(bank, question_mean, "question")
        self._means = question_mean, document_mean
        self._weight = hub_weight
        self._ids: list[str] = []
        self._parts: list[Floats] = []
        self._sums = np.zeros(len(bank))
        self._squares = np.zeros(len(bank))
        self._distinct = DistinctCount()
        self._best = np.full(len(bank), -np.inf)
        self._best_ids: list[str | None] = [None] * len(bank)

    def add(self, ids: Sequence[str], vectors: Vector) -> None:
        """Take in a batch of documents.

        Args:
            ids: their ids (n).
            vectors: unit rows (n, d).
        """
        if not ids:
            return
        question_mean, document_mean = self._means
        rows = vectors.astype(np.float64)
        table = np.zeros((len(ids), 3))
        table[:, 0] = rows @ question_mean
        table[:, 1] = np.linalg.norm(rows - document_mean, axis=1)
        found = centered_rows(vectors, document_mean, "document") @ self._bank.T
        if self._weight:
            table[:, 2] = hub_scores(found)
            self._distinct.add(vectors)
        own = self._own.found_in(vectors)
        if own is not None and self._weight:
            for row in np.flatnonzero(own.any(axis=1)).tolist():
                rest = found[row, ~own[row]]
                table[row, 2] = hub_scores(rest[None])[0] if len(rest) else 0.0
        similarities = found - self._weight * table[:, 2, None]
        if own is not None:
            similarities[own] = 0.0
        self._sums += similarities.sum(axis=0)
        self._squares += np.einsum("nc,nc->c", similarities, similarities)
        if own is not None:
            similarities[own] = -np.inf
        best = similarities.argmax(axis=0)
        highest = similarities[best, np.arange(len(best))]
        for question in np.flatnonzero(highest > self._best).tolist():
            self._best_ids[question] = ids[best[question]]
        np.maximum(self._best, highest, out=self._best)
        self._ids.extend(ids)
        self._parts.append(table)

    def fitted(self, *, background: bool) -> Fitted:
        """Give what was learned.

        Raises:
            SourceError: if there was no document.
        """
        if not self._ids:
            raise SourceError("the store was emptied while it was read; calibrate again")
        along, norms, hubs = np.concatenate(self._parts).T.copy()
        correction = Correction(*self._means, DocumentTable(tuple(self._ids), along, norms, hubs), self._weight)
        count = len(self._ids)
        sums, squares = (self._own.scaled(values, count) for values in (self._sums, self._squares))
        best = np.where(np.isfinite(self._best), self._best, np.nan)
        if not background:
            return Fitted(correction, None, tuple(self._best_ids), best)
        means = sums / count
        stds = np.sqrt(np.maximum(squares / count - means**2, 0.0))
        level = Background.fit(sums, squares, count, self._distinct.count)
        return Fitted(correction, level, tuple(self._best_ids), best, means, stds)


class _Twice:
    """Reads a source twice; a small one is kept in memory after the first time."""

    def __init__(self, source: Any, modality: Modality) -> None:
        self._source = source
        self._modality = modality
        self._held: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._held is not None:
            yield from self._held
            return
        held: list[Batch] | None = []
        numbers = 0
        for ids, vectors in scan(self._source, self._modality):
            numbers += vectors.size
            if held is not None:
                held.append((ids, vectors))
            if numbers > _HELD:
                held = None
            yield ids, vectors
        self._held = held


def _sum(documents: Iterable[Batch]) -> tuple[Floats | None, int]:
    """Sum the unit vectors of a modality, and count them."""
    total: Floats | None = None
    count = 0
    for ids, vectors in documents:
        if len(ids):
            added = vectors.sum(axis=0, dtype=np.float64)
            total = added if total is None else total + added
            count += len(ids)
    return total, count
