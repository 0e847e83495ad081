"""What can be told of a store's numbers where it does not give its vectors."""

from __future__ import annotations

import numpy as np

from commonscale.core.cosines import SCORE_KINDS, TOLERANCE, to_cosine
from commonscale.core.errors import InvalidInputError
from commonscale.core.verification.evidence import Evidence
from commonscale.core.verification.matching import kind_name, values_of
from commonscale.core.verification.numbers import falls_with
from commonscale.core.verification.report import Finding


def check_blindly(evidence: Evidence) -> tuple[Finding, ...]:
    """Look for numbers that cannot be cosines: out of range, worst first, or 1 for every random question.

    Args:
        evidence: answers with at least one hit, whose numbers are converted.
    """
    if evidence.kind is None:
        return ()
    claimed = kind_name(evidence.kind)
    answers = [values_of(a.numbers, evidence.kind) for a in evidence.answers]
    places = np.concatenate([-np.arange(len(a), dtype=np.float64) for a in answers])
    if falls_with(np.concatenate(answers), places, evidence):
        words = (
            f"read as {claimed!r}, the best hits of every answer get the lowest cosines; the numbers are distances, or "
            f"a score of another kind: name it with score_kind=, one of {', '.join(SCORE_KINDS)}"
        )
        return (Finding("inverted", words, error=True),)
    try:
        to_cosine(evidence.joined(lambda a: a.numbers), evidence.kind)
    except InvalidInputError as error:
        return (Finding("out of range", str(error), error=True),)
    random = [c for a, c in zip(evidence.answers, answers, strict=True) if len(c) and not a.stored]
    if random and all(abs(c.max() - 1.0) <= TOLERANCE**2 for c in random):
        words = (
            "the best hit of every random question gets a cosine of exactly 1: the numbers are normalized per query, "
            "and no score kind leads back from them to the cosine; fetch the stored vectors and use "
            "commonscale.cosines_with, or search the store in another mode"
        )
        return (Finding("per query", words, error=True),)
    return ()
