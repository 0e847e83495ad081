"""Checks of what priors are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Question


def check_questions(questions: Sequence[Question | str]) -> None:
    """Refuse strings and other things that are no questions.

    Raises:
        InvalidInputError: if one is none, or they are one string.
    """
    wrong = [questions] if isinstance(questions, str) else [one for one in questions if not hasattr(one, "text")]
    if wrong:
        raise InvalidInputError(
            f"priors take a list of commonscale.Question, with the vectors that they are searched with, got "
            f"{wrong[0]!r}; give retriever.embed_questions(texts), or Question(text, vector) for each"
        )


def check_scale_given(best: object) -> None:
    """Refuse what tells no scale.

    Raises:
        InvalidInputError: if it is neither a calibration nor best scores by modality.
    """
    if not isinstance(best, (Calibration, Mapping)):
        raise InvalidInputError(
            f"a prior is scaled to a calibration, or to best_scores(search, questions), got {best!r}; give "
            f"retriever.calibration once calibrate(questions) has been called"
        )


def check_best_scores(best: object) -> None:
    """Refuse what are no best scores, such as a calibration.

    Raises:
        InvalidInputError: if it is no mapping.
    """
    if not isinstance(best, Mapping):
        raise InvalidInputError(
            f"best scores by modality are needed, got {best!r}; give best_scores(retriever.joint_search, questions)"
        )


def check_strength(strength: float) -> None:
    """Refuse a strength that is no finite number of at least 0.

    Raises:
        InvalidInputError: if it is not.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise InvalidInputError(f"strength must be a finite number of at least 0, got {strength!r}")
