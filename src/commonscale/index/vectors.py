"""Unit vectors: checked and normalized before anything is stored or searched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality, Question, Vector

UNIT_TOLERANCE = 1e-6
"""Rows this close to norm 1 are stored bit for bit, so that storing what was read back changes nothing."""


def unit_rows(vectors: npt.ArrayLike, dimension: int, *, names: Sequence[str], what: str) -> Vector:
    """Check vectors and scale them to norm 1, so that inner products are cosines.

    Scaling rather than refusing: encoders return raw features as often as unit vectors, half precision is off
    by 1e-3, and the cosine is the same either way. The caller's array stays as it is.

    Args:
        vectors: shape (n, dimension), any real dtype.
        dimension: the length that is needed.
        names: what each row belongs to, for messages; length n.
        what: what a row is called in messages, such as ``"document"``.

    Returns:
        A new array (n, dimension), float32, contiguous.

    Raises:
        InvalidInputError: if the shape is wrong, or a row is null or not finite.
    """
    try:
        rows = np.array(vectors, dtype=np.float64, ndmin=1)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"vectors must be an array of numbers of shape (n, {dimension}): {error}") from error
    if rows.size == 0 and not names:
        return np.empty((0, dimension), dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise InvalidInputError(
            f"vectors have shape {rows.shape}; this index holds vectors of dimension {dimension}, one row per {what}: "
            f"use the encoder that the index was made with"
        )
    if len(rows) != len(names):
        raise InvalidInputError(f"{len(names)} {what}s come with {len(rows)} vectors; give one row for each")
    largest = np.abs(rows).max(axis=1)
    good = np.isfinite(largest) & (largest > 0.0)
    if not good.all():
        first = int(np.argmin(good))
        problem = "null" if largest[first] == 0.0 else "not finite"
        raise InvalidInputError(
            f"the vector of {what} {names[first]!r} (row {first}) is {problem}: it has no direction, so no cosine; "
            f"leave it out or embed it again"
        )
    norms = np.linalg.norm(rows / largest[:, None], axis=1)
    off = np.abs(norms * largest - 1.0) > UNIT_TOLERANCE
    # Dividing by the largest entry first keeps squares of huge and tiny numbers in range.
    rows[off] = rows[off] / largest[off, None] / norms[off, None]
    return np.ascontiguousarray(rows, dtype=np.float32)


def question_rows(questions: Sequence[Question], modality: Modality, dimension: int) -> Vector:
    """Stack the questions' vectors for one modality, as unit rows.

    Args:
        questions: at least one.
        modality: which of each question's vectors to take.
        dimension: the length that is needed.

    Returns:
        Shape (questions, dimension), float32.

    Raises:
        InvalidInputError: if a question has no vector, or one that cannot be used.
    """
    given = [np.asarray(question.vector_for(modality)) for question in questions]
    for question, vector in zip(questions, given, strict=True):
        if vector.shape != (dimension,):
            raise InvalidInputError(
                f"question {question.text!r} has a vector of shape {vector.shape}; modality {modality!r} holds vectors "
                f"of dimension {dimension}: embed questions with the encoder that the index was made with"
            )
    return unit_rows(np.stack(given), dimension, names=[question.text for question in questions], what="question")
