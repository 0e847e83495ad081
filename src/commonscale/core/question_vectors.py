"""The vectors of many questions as one matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality, Question

_UNIT = 1e-6
"""How far a squared norm may lie from 1: what float32 rounds."""


def question_rows(
    questions: Sequence[Question], modality: Modality, dimension: int | None = None
) -> npt.NDArray[np.float32]:
    """Stack the questions' vectors for one modality as unit rows.

    Args:
        questions: at least one.
        modality: which of each question's vectors to take.
        dimension: length of the documents' vectors; None if it is not known.

    Returns:
        Shape (questions, d), float32, contiguous.

    Raises:
        InvalidInputError: if a question has no vector, or one that is null, not finite or of another dimension.
    """
    given = [np.asarray(question.vector_for(modality)) for question in questions]
    needed = given[0].shape if dimension is None else (dimension,)
    for question, vector in zip(questions, given, strict=True):
        if vector.ndim != 1 or vector.shape != needed:
            raise InvalidInputError(
                f"question {question.text!r} has a vector of shape {vector.shape} where the documents of modality "
                f"{modality!r} have {needed}; embed questions and documents with the same encoder"
            )
    rows = np.ascontiguousarray(np.stack(given), dtype=np.float32)
    # Most questions come normalized: telling so costs a tenth of normalizing again, on the path of every search.
    norms = np.einsum("ij,ij->i", rows, rows)
    if (np.abs(norms - 1.0) <= _UNIT).all():
        return rows
    return unit_rows(np.stack(given), "question vector")
