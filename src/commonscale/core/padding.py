"""Filling up a small bank of questions with documents that stand in for questions.

Hub scores and means of a few dozen questions are noisy. Passages are words as questions are: moved from where
passages lie to where questions lie, they tell which documents are close to everything that is said in this corpus.
Found by measurement; see ``docs/chance.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.question_vectors import question_rows
from commonscale.core.reservoir import Reservoir
from commonscale.core.scanning import scan
from commonscale.core.types import TEXT, Floats, Modality, Question, Source, Vector

ENOUGH = 100
"""Questions from which on nothing is added, unless told otherwise."""

_NO_DIRECTION = 1e-6
"""Distance from a mean below which the direction of a float32 vector is rounding."""


def padded(
    questions: Sequence[Question],
    source: Source,
    modality: Modality = TEXT,
    *,
    at_least: int = ENOUGH,
    seed: int = 0,
) -> list[Question]:
    """Add documents to a small bank, as questions: ``unit(mu_q + r unit(t - mu_t))``.

    mu_q is the mean of the questions, r their root mean square distance from it (over C - 1, since mu_q is their own
    mean; that of the documents from theirs, if there is one question or all are alike), mu_t the mean of all
    documents, and t a random one. Calibrate with the result in place of the questions. It is meant for the method
    ``"chance"`` alone: the best hit of a passage is itself, which misleads methods that standardize best hits.

    Args:
        questions: the bank, embedded with one encoder for all modalities; all of them texts, or all of them pictures.
        source: the documents that stand in for questions, of the questions' own kind; its vectors must be readable.
        modality: of the source.
        at_least: questions to reach; fewer are reached if there are fewer documents.
        seed: of the choice of documents, which is the same for the same documents in the same order.

    Returns:
        The questions, then those made of documents, without wording and stratum; as they came if they are enough.

    Raises:
        InvalidInputError: if there is no question, if they are of both kinds, or if they have vectors of their own for
            some modality: a passage has none there.
        UnreadableVectorsError: if the source cannot be read.
        SourceError: if it breaks its contract.
    """
    if len(questions) >= at_least:
        return list(questions)
    _check(questions)
    chosen, documents_mean, spread = _sample(source, modality, at_least - len(questions), seed)
    if not len(chosen):
        return list(questions)
    rows = question_rows(questions, modality, len(documents_mean))
    mean = rows.mean(axis=0, dtype=np.float64)
    squares = ((rows - mean) ** 2).sum() / max(1, len(rows) - 1)
    radius = float(np.sqrt(squares)) if squares > _NO_DIRECTION**2 else spread
    moved = unit_rows(mean + radius * unit_rows(chosen - documents_mean), "moved document")
    kind = questions[0].kind
    return [*questions, *(Question(vector=row, kind=kind) for row in moved)]


def _check(questions: Sequence[Question]) -> None:
    if not questions:
        raise InvalidInputError("a bank without questions cannot be filled up; give at least one question")
    if len(kinds := {question.kind for question in questions}) > 1:
        raise InvalidInputError(f"questions of the kinds {sorted(kinds)} have scales of their own; fill up one by one")
    if any(question.vectors for question in questions):
        raise InvalidInputError(
            "questions that have vectors of their own for some modality cannot be joined by documents, which have one "
            "vector; give more questions instead"
        )


def _sample(source: Source, modality: Modality, count: int, seed: int) -> tuple[Vector, Floats, float]:
    """Read a source once: random documents (at most ``count``, d), the mean of all (d,), and their distance from it."""
    reservoir = Reservoir(count, seed=seed)
    kept: dict[int, Vector] = {}
    total: Floats | None = None
    seen = 0
    for _, vectors in scan(source, modality):
        total = vectors.sum(axis=0, dtype=np.float64) + (0.0 if total is None else total)
        seen += len(vectors)
        kept.update((slot, vectors[row].copy()) for slot, row in reservoir.offer(len(vectors)).items())
    if total is None or not seen:
        return np.empty((0, 0), dtype=np.float32), np.empty(0), 0.0
    mean: Floats = total / seen
    # Unit vectors: their mean squared distance from their mean is one less its squared norm.
    spread = float(np.sqrt(max(0.0, 1.0 - float(mean @ mean))))
    rows = np.stack([kept[slot] for slot in sorted(kept)])
    return rows[np.linalg.norm(rows - mean, axis=1) > _NO_DIRECTION], mean, spread
