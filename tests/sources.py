"""An exact source over numpy arrays: the brute force that real stores are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from commonscale import Candidates, Question


class ArraySource:
    """Searches unit vectors (n, d) exactly; ties go to the earlier row."""

    def __init__(self, ids: Sequence[str], vectors: Any, modality: str = "text") -> None:
        self.ids = list(ids)
        self.vectors = np.asarray(vectors, dtype=np.float32)
        self.modality = modality
        self.calls: list[tuple[int, int]] = []

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        self.calls.append((len(questions), k))
        return [self._one(question, k) for question in questions]

    def _one(self, question: Question, k: int) -> Candidates:
        if not self.ids:
            return Candidates([], np.empty(0))
        cosines = (self.vectors @ question.vector_for(self.modality)).astype(np.float64)
        order = np.argsort(-cosines, kind="stable")[:k]
        return Candidates([self.ids[i] for i in order], cosines[order])


def unit_rows(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Random unit vectors (count, dimension), float32."""
    rows = rng.standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
