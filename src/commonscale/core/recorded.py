"""What the adapters record in the metadata of every hit, and how a later step knows whose record it is."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from numbers import Real
from typing import TYPE_CHECKING, Any

from commonscale.core.types import Question

if TYPE_CHECKING:
    from commonscale.core.calibration import Calibration

SCORE_KEY = "commonscale_score"
"""Metadata key, in either framework, of a hit's place on the common scale."""

COSINE_KEY = "commonscale_cosine"
"""Metadata key of a hit's true cosine with the question, or of the score that stands in its place (BM25)."""

MODALITY_KEY = "commonscale_modality"
"""Metadata key of the modality that a hit was found in."""

QUESTION_KEY = "commonscale_question"
"""Metadata key of the mark of the question that the cosine belongs to; see ``question_mark``."""

MISSING_KEY = "commonscale_missing"
"""Metadata key, only where a modality is missing from the ranking because its store failed: why, by modality."""


def recorded_number(metadata: Mapping[str, Any], key: str) -> float | None:
    """Give the number under a key, such as ``COSINE_KEY``.

    Returns:
        None if there is no number: metadata may come from anywhere, and under our keys may stand what others wrote.
    """
    value = metadata.get(key)
    return None if isinstance(value, bool) or not isinstance(value, Real) else float(value)


def question_mark(question: str) -> str:
    """Give what tells this question from others: 64 bits of a hash of its words, in hexadecimal."""
    return sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]


_PICTURE = "image:"


def picture_mark(picture: str) -> str:
    """Give what tells a question that is a picture from others, and from questions in words.

    Args:
        picture: the string that stands for it: a path, a URL or its contents.
    """
    return _PICTURE + question_mark(picture)


def scale_of_marked(calibration: Calibration, mark: str | None) -> Calibration:
    """Give the scale of the question that a mark stands for: that of pictures for a picture, else the one of words.

    Raises:
        NotCalibratedError: if it is a picture, and no pictures have been calibrated with.
    """
    pictured = mark is not None and mark.startswith(_PICTURE)
    return calibration.for_question(Question(kind="image")) if pictured else calibration
