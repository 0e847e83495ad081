"""Questions that are documents themselves: pictures of the store that are asked with, to calibrate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from commonscale.core.around import SiftingSource
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Candidates, Floats, Modality, Source, Vector
from commonscale.core.unbounded import is_unbounded

IDENTICAL = 0.9999
"""The cosine above which a document is taken for the very picture that asks. A picture embedded twice is within 6e-8
of 1, one stored as float16 within 1.3e-7, as int8 within 4.5e-5; different photographs reach .93 (measured by
``benchmarks/image_questions.py``, see ``docs/image-questions.md``)."""


def check_identical(identical: float | None) -> float | None:
    """Give the cosine above which documents are left out.

    Raises:
        InvalidInputError: if it is no cosine.
    """
    if identical is not None and not -1.0 <= identical <= 1.0:
        raise InvalidInputError(
            f"identical is the cosine above which a document is the question itself, in [-1, 1], or None for never; "
            f"got {identical!r}"
        )
    return identical


def others(sources: Mapping[Modality, Source], identical: float | None) -> dict[Modality, Source]:
    """Give sources that do not find the question itself; those without cosines (BM25) stay as they are.

    Args:
        sources: one source per modality.
        identical: see ``IDENTICAL``; None leaves all sources as they are.
    """
    if check_identical(identical) is None:
        return dict(sources)
    return {m: s if is_unbounded(s) else OthersSource(s, m, float(identical or 0.0)) for m, s in sources.items()}


class OthersSource(SiftingSource):
    """A source without the documents that are the question itself; it is searched deeper for those behind them."""

    def __init__(self, source: Source, modality: Modality, identical: float) -> None:
        """Wrap the source of a modality; documents of a cosine above ``identical`` are not found."""
        super().__init__(source, modality)
        self._identical = identical

    def sift(self, found: Candidates, k: int) -> Candidates:
        """Leave out what is the question itself."""
        kept = np.flatnonzero(found.cosines <= self._identical)[:k]
        payloads = found.payloads
        return Candidates(
            [found.ids[row] for row in kept],
            found.cosines[kept],
            None if payloads is None else [payloads[row] for row in kept],
        )


class OwnDocuments:
    """Finds the documents that are a banked question itself, batch by batch, and counts them.

    Attributes:
        counts: how many were found of each question (C,).
    """

    def __init__(self, bank: Vector, identical: float | None) -> None:
        """Begin with none.

        Args:
            bank: unit vectors (C, d) of the questions.
            identical: see ``IDENTICAL``; None finds none.
        """
        self._bank = bank
        self._identical = check_identical(identical)
        self.counts = np.zeros(len(bank))

    def found_in(self, vectors: Vector) -> npt.NDArray[np.bool_] | None:
        """Mark and count what is a question itself.

        Args:
            vectors: unit vectors (n, d) of documents.

        Returns:
            Shape (n, C); None if there is nothing to mark.
        """
        if self._identical is None:
            return None
        own: npt.NDArray[np.bool_] = vectors @ self._bank.T > self._identical
        if not own.any():
            return None
        self.counts += own.sum(axis=0)
        return own

    def scaled(self, sums: Floats, documents: int) -> Floats:
        """Scale sums over the other documents up to all of them, so that means are those of the others.

        Args:
            sums: one per question (C,).
            documents: how many documents there are, own ones too.
        """
        rest = documents - self.counts
        return np.where(rest > 0, sums * documents / np.maximum(rest, 1.0), 0.0)
