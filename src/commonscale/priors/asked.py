"""The questions that priors are fitted with: embedded ones, or texts where there is an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from commonscale.core.types import Question
from commonscale.priors.checks import check_questions

if TYPE_CHECKING:
    from commonscale.encoders.base import Encoder


def as_questions(
    questions: Sequence[Question | str], encoder: Encoder | None, *, embedded: bool = False
) -> list[Question]:
    """Give questions to fit a prior with; where it has an encoder, their texts are enough.

    Args:
        questions: questions, or strings.
        encoder: the prior's own; None refuses strings.
        embedded: whether strings get a vector from it at once.

    Raises:
        InvalidInputError: if there are strings but no encoder, or they are one string.
    """
    texts = [] if isinstance(questions, str) else [one for one in questions if isinstance(one, str)]
    if encoder is None or not texts:
        check_questions(questions)
    rows = iter(encoder.encode_questions(texts) if encoder is not None and texts and embedded else [None] * len(texts))
    return [Question(one, next(rows)) if isinstance(one, str) else one for one in questions]
