"""An exact store that changes, and what a fresh fit over it is, by brute force in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from commonscale import Calibration, Candidates, Question
from commonscale.core.errors import SourceError


class ChangingStore:
    """Searches unit vectors exactly; ties go to the document that came first."""

    def __init__(self, modality: str, documents: Mapping[str, np.ndarray] | None = None) -> None:
        self.modality = modality
        self.documents = dict(documents or {})
        self.asked: list[int] = []
        self.read = 0
        self.failing = False

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        if self.failing:
            raise SourceError("the store is down")
        self.asked.append(len(questions))
        if not self.documents:
            return [Candidates([], np.empty(0)) for _ in questions]
        ids, rows = list(self.documents), np.stack(list(self.documents.values()))
        answers = []
        for question in questions:
            cosines = np.clip((rows @ question.vector_for(self.modality)).astype(np.float64), -1, 1)
            order = np.argsort(-cosines, kind="stable")[:k]
            answers.append(Candidates([ids[place] for place in order], cosines[order]))
        return answers

    def scan(self, size: int = 2048) -> Iterator[tuple[list[str], np.ndarray]]:
        if self.failing:
            raise SourceError("the store is down")
        self.read += 1
        ids = list(self.documents)
        for start in range(0, len(ids), size):
            yield ids[start : start + size], self.vectors_of(ids[start : start + size])

    def vectors_of(self, ids: Sequence[str]) -> np.ndarray:
        if missing := [key for key in ids if key not in self.documents]:
            raise SourceError(f"there is no document {missing[0]!r}")
        return np.stack([self.documents[key] for key in ids])


class BlindStore(ChangingStore):
    """Cannot give its vectors."""

    scan = None  # type: ignore[assignment]
    vectors_of = None  # type: ignore[assignment]


@dataclass
class Fresh:
    """One modality, fitted by brute force."""

    mean: float
    std: float
    location: float | None = None
    scale: float | None = None
    table: dict[str, tuple[float, float, float]] | None = None


def fresh(calibration: Calibration, modality: str, questions: Sequence[Question], store: ChangingStore) -> Fresh:
    """Fit one modality over the documents that the store holds, with the means of a calibration, all in float64."""
    asked = np.stack([question.vector_for(modality) for question in questions]).astype(np.float64)
    rows = np.stack(list(store.documents.values())).astype(np.float64)
    correction = calibration.modalities[modality].correction
    if correction is None:
        best = (asked @ rows.T).max(axis=1)
        return Fresh(best.mean(), best.std())
    centred_asked, centred = asked - correction.question_mean, rows - correction.document_mean
    norms = np.linalg.norm(centred, axis=1)
    found = (centred_asked / np.linalg.norm(centred_asked, axis=1, keepdims=True)) @ (centred / norms[:, None]).T
    chance = calibration.method == "chance"
    hubs = np.sort(found, axis=0)[-10:].mean(axis=0) if chance else np.zeros(len(rows))
    found -= 0.5 * hubs
    best = found.max(axis=1)
    numbers = zip((rows @ correction.question_mean).tolist(), norms.tolist(), hubs.tolist(), strict=True)
    result = Fresh(best.mean(), best.std(), table=dict(zip(store.documents, numbers, strict=True)))
    if chance:
        spread = found.std(axis=1).mean()
        result.location = found.mean() - spread * NormalDist().inv_cdf(1e-5 / len(np.unique(rows, axis=0)))
        result.scale = np.sqrt(spread) if spread > 1e-7 else 1.0
    return result
