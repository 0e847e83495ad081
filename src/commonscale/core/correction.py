"""From raw cosines to centred and hub-corrected similarities, over an index that stays as it is.

With unit vectors q and d, mu_q the mean of questions and mu_m that of the documents of modality m, gap removal (arXiv
2507.19054) compares g_q = unit(q - mu_q) with g_d = unit(d - mu_m). The index is asked with g_q in place of q, and
gives g_q.d; then

    g_q.g_d = (g_q.d - g_q.mu_m) / |d - mu_m|
    a(q, d) = g_q.g_d - w h(d)
    q.d     = g_q.d |q - mu_q| + mu_q.d

where h(d) is the mean of the document's ten highest g_c.g_d over the banked questions c (the document's half of CSLS,
Conneau et al. 2018). Three numbers per document are enough: mu_q.d, |d - mu_m| and h(d).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats, Vector

HUB_WEIGHT = 0.5
"""The weight w of hub scores: CSLS halves them, since it doubles the cosine."""


@dataclass(frozen=True, slots=True, eq=False)
class DocumentTable:
    """What the correction needs of each document of a modality.

    Attributes:
        ids: the documents' ids (N), different from each other.
        along: ``mu_q.d`` (N,).
        norms: ``|d - mu_m|`` (N,), above 0.
        hubs: h(d) (N,).
    """

    ids: Sequence[str]
    along: Floats
    norms: Floats
    hubs: Floats
    _rows: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.along), len(self.norms), len(self.hubs)}
        if len(lengths) > 1 or not (self.norms > 0).all():
            raise InvalidInputError(
                f"a table needs positive norms and as many numbers as ids, got {len(self.ids)} ids, {len(self.along)} "
                f"along, {len(self.norms)} norms and {len(self.hubs)} hubs"
            )
        rows = {key: row for row, key in enumerate(self.ids)}
        if len(rows) < len(self.ids):
            raise InvalidInputError("a table names a document twice; ids must be unique")
        object.__setattr__(self, "_rows", rows)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"DocumentTable({len(self)} documents)"

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.intp]:
        """Give the rows (n,) of ids, -1 for those that are not in the table."""
        known = self._rows
        return np.array([known.get(key, -1) for key in ids], dtype=np.intp)


class CenteredQuestions(NamedTuple):
    """Questions as an index is asked with them.

    Attributes:
        rows: ``g_q = unit(q - mu_q)`` (n, d), float32.
        levels: ``g_q.mu_m`` (n,).
        norms: ``|q - mu_q|`` (n,).
    """

    rows: Vector
    levels: Floats
    norms: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """One modality's way from raw cosines to similarities.

    Attributes:
        question_mean: mu_q (d,), of unit vectors.
        document_mean: mu_m (d,), of unit vectors.
        documents: the modality's documents.
        hub_weight: w; 0 for centring alone.
    """

    question_mean: Floats
    document_mean: Floats
    documents: DocumentTable
    hub_weight: float = 0.0

    def __repr__(self) -> str:
        return (
            f"Correction({len(self.documents)} documents, dimension={len(self.document_mean)}, "
            f"hub_weight={self.hub_weight})"
        )

    def centered(self, questions: Vector) -> CenteredQuestions:
        """Centre questions.

        Args:
            questions: unit rows (n, d).

        Raises:
            InvalidInputError: if dimensions differ, or a question is the mean itself and so has no direction.
        """
        if questions.shape[1] != len(self.question_mean):
            raise InvalidInputError(
                f"questions have dimension {questions.shape[1]}, the calibration {len(self.question_mean)}; embed them "
                f"with the encoder of the calibration"
            )
        moved = questions.astype(np.float64) - self.question_mean
        rows = unit_rows(moved, "centred question vector")
        return CenteredQuestions(rows, rows @ self.document_mean, np.linalg.norm(moved, axis=1))

    def similarities(self, products: Floats, table: Floats, level: float) -> Floats:
        """Give the similarities a(q, d) of documents with one question.

        Args:
            products: ``g_q.d`` (n,).
            table: the documents' columns of the table (3, n), see ``columns``.
            level: the question's ``g_q.mu_m``.

        Returns:
            Similarities (n,).
        """
        found: Floats = (products - level) / table[1] - self.hub_weight * table[2]
        return found

    def columns(self, rows: npt.NDArray[np.intp]) -> Floats:
        """Give along, norms and hub scores (3, n) of rows of the table; where a row is -1, the means of the table."""
        table = self.documents
        values = (table.along, table.norms, table.hubs)
        found: Floats = np.stack([column[rows] if len(column) else np.zeros(len(rows)) for column in values])
        if (missing := rows < 0).any():
            found[:, missing] = [[column.mean()] if len(column) else [1.0] for column in values]
        return found

    def bounds(self, product: float, level: float) -> Floats:
        """Give the highest similarity (N,) that each document can have if its ``g_q.d`` is at most ``product``."""
        table = self.documents
        return (product - level) / table.norms - self.hub_weight * table.hubs
