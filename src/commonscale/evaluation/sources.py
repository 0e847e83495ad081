"""Exact search of a benchmark's documents, held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import nearest
from commonscale.core.types import Candidates, Floats, Modality, Question, Vector

_REMEMBERED = 4
"""Answers kept: enough for the few searches that most methods share."""

_LARGEST = 1 << 22  # hits in an answer that is kept: 64 MiB


def document_id(modality: Modality, row: int) -> str:
    """Give the id of a benchmark's document, such as ``"image:12"``."""
    return f"{modality}:{row}"


class VectorSource:
    """Exact search of unit vectors held in memory; equal cosines stay in the order of the rows.

    Methods that are compared ask the same questions, so the last few answers are kept.
    """

    concurrent: ClassVar[bool] = True
    """May be searched beside other sources: its vectors are only read."""

    def __init__(self, modality: Modality, vectors: Vector) -> None:
        """Set up the source.

        Args:
            modality: its modality; row 7 of the texts gets the id ``"text:7"``.
            vectors: unit vectors (n, d).
        """
        self.modality = modality
        self.vectors = vectors
        self.ids = [document_id(modality, row) for row in range(len(vectors))]
        # The questions are kept with the answer: an identity is only good for as long as the object lives.
        self._answers: dict[tuple[int, ...], tuple[Sequence[Question], npt.NDArray[np.intp], Floats]] = {}

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` rows closest to each question; see ``commonscale.Source``."""
        rows, cosines = self.nearest(questions, k)
        ids = self.ids
        return [
            Candidates([ids[row] for row in found], values)
            for found, values in zip(rows.tolist(), cosines, strict=True)
        ]

    def nearest(self, questions: Sequence[Question], k: int) -> tuple[npt.NDArray[np.intp], Floats]:
        """Find the ``k`` rows closest to each question.

        Args:
            questions: embedded.
            k: how many, at least 1.

        Returns:
            Rows and cosines, both (questions, min(k, n)), best first; read-only.
        """
        key = (k, *map(id, questions))
        if (known := self._answers.get(key)) is not None:
            return known[1:]
        asked = np.stack([question.vector_for(self.modality) for question in questions])
        rows, cosines = nearest(self.vectors, asked, k)
        rows.flags.writeable = cosines.flags.writeable = False
        if rows.size > _LARGEST:
            return rows, cosines
        for oldest in list(self._answers)[: max(0, len(self._answers) - _REMEMBERED + 1)]:
            self._answers.pop(oldest, None)
        self._answers[key] = list(questions), rows, cosines
        return rows, cosines

    def scan(self, size: int = 2048) -> Iterator[tuple[list[str], Vector]]:
        """Read every document: ids as ``search`` gives them, and unit vectors (n, d), ``size`` at a time."""
        for start in range(0, len(self.vectors), size):
            yield self.ids[start : start + size], self.vectors[start : start + size]

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Read the unit vectors (n, d) of some documents."""
        return self.vectors[[int(name.partition(":")[2]) for name in ids]]
