"""How documents are seen from a bank of questions, through means that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from commonscale.core.centering import centered_rows
from commonscale.core.correction import HUB_WEIGHT
from commonscale.core.errors import InvalidInputError
from commonscale.core.fitting import NEIGHBORS, hub_scores
from commonscale.core.types import Floats, Vector

_NO_DIRECTION = 1e-6
"""Distance from the mean below which the direction of a float32 vector is rounding."""


class NoDirectionError(InvalidInputError):
    """A document cannot be centred with the means in use; never leaves this package, other means are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """How documents are seen from the bank: the means, which stay, and the banked questions.

    Attributes:
        question_mean: mu_q (d,).
        document_mean: mu_m (d,).
        bank: centred unit vectors (C, d) of the questions; float64 for the chance level.
        chance: whether hub scores are subtracted.
        own: the questions' unit vectors (C, d) as they are, to tell documents that are a question itself; None where
            questions are no documents.
        identical: the cosine above which a document is.
    """

    question_mean: Floats
    document_mean: Floats
    bank: npt.NDArray[np.floating[Any]]
    chance: bool
    own: Vector | None = None
    identical: float = 1.0

    @classmethod
    def over(
        cls,
        questions: Vector,
        question_mean: Floats,
        document_mean: Floats,
        *,
        chance: bool,
        identical: float | None = None,
    ) -> Lens:
        """Center the bank's unit vectors (C, d).

        For the chance level similarities are float64 products, so that what is added and what is later subtracted for
        a document are equal to 1e-15, not to 1e-7: with few or nearly equal documents a variance is a small
        difference of large sums.
        """
        bank = centered_rows(questions, question_mean, "question")
        own, limit = (None, 1.0) if identical is None else (questions, identical)
        return cls(question_mean, document_mean, bank.astype(np.float64) if chance else bank, chance, own, limit)

    def measure(self, rows: Vector) -> Measured:
        """Look at documents.

        Args:
            rows: unit vectors (n, d).

        Returns:
            What is seen of them.

        Raises:
            NoDirectionError: if a document is the mean itself.
            InvalidInputError: if one is of another dimension.
        """
        if rows.shape[1] != len(self.document_mean):
            raise InvalidInputError(
                f"documents have vectors of dimension {rows.shape[1]}, the calibration {len(self.document_mean)}; "
                f"embed them with the encoder of the calibration"
            )
        exact = rows.astype(np.float64)
        centered = exact - self.document_mean
        table = np.zeros((len(rows), 4))
        table[:, 0] = exact @ self.question_mean
        table[:, 1] = norms = np.sqrt(np.einsum("ij,ij->i", centered, centered))
        if not (norms > _NO_DIRECTION).all():
            raise NoDirectionError("a document equals the mean of its modality, so it has no direction from it")
        centered /= norms[:, None]
        found = centered.astype(self.bank.dtype, copy=False) @ self.bank.T
        own = None if self.own is None else rows @ self.own.T > self.identical
        if self.chance:
            table[:, 2], table[:, 3] = _hubs(found)
            if own is not None:
                _without_own(table[:, 2], found, own)
            found -= HUB_WEIGHT * table[:, 2, None]
        if own is not None:
            found[own] = -np.inf
        return Measured(table, found)


def _hubs(found: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Give hub scores (n,), and the similarity (n,) of each document's next neighbour, 0 in a bank without one."""
    count = found.shape[1]
    if count <= NEIGHBORS:
        return hub_scores(found), np.zeros(len(found))
    top = np.partition(found, count - NEIGHBORS - 1, axis=1)[:, count - NEIGHBORS - 1 :]
    return hub_scores(top[:, 1:]), top[:, 0].astype(np.float64)


def _without_own(hubs: Floats, found: npt.NDArray[np.floating[Any]], own: npt.NDArray[np.bool_]) -> None:
    """Take the hub scores of documents that are questions themselves over the other questions."""
    for row in np.flatnonzero(own.any(axis=1)).tolist():
        rest = found[row, ~own[row]]
        hubs[row] = hub_scores(rest[None])[0] if len(rest) else 0.0


class Measured(NamedTuple):
    """What is seen of documents.

    Attributes:
        table: along, norm, hub score and next neighbour (n, 4), see ``LivingTable``.
        similarities: with the bank (n, C), -inf where a document is the question itself.
    """

    table: Floats
    similarities: npt.NDArray[np.floating[Any]]

    def sums(self) -> Floats:
        """Give the number, the sum and the sum of squares (3, C) of each question's similarities."""
        there = self.similarities != -np.inf
        if there.all():
            values, counts = self.similarities, np.full(there.shape[1], float(len(there)))
        else:
            values, counts = np.where(there, self.similarities, 0.0), there.sum(axis=0, dtype=np.float64)
        return np.stack([counts, values.sum(axis=0, dtype=np.float64), np.einsum("nc,nc->c", values, values)])
