"""The shape of numbers of no known kind: one function of the cosine for all questions, or another one for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commonscale.core.types import Floats
from commonscale.core.verification.evidence import Evidence

_APART = 1e-3
"""Cosines closer than this, and numbers closer than this share of their range, count as equal."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How numbers depend on the cosine.

    Attributes:
        per_query: within each answer they rise (or fall) with the cosine, or the best is always 1; over all answers
            they do not.
        tops_are_one: every answer's best number is 1.
        common: they are one rising (or falling) function of the cosine.
        line: start and slope, if that function is a straight line.
    """

    per_query: bool
    tops_are_one: bool
    common: bool
    line: tuple[float, float] | None


def shape_of(evidence: Evidence) -> Shape:
    """Describe how a store's numbers depend on the cosine."""
    cosines, numbers = evidence.joined(lambda a: a.cosines), evidence.joined(lambda a: a.numbers)
    usable = bool(np.isfinite(numbers).all()) and len(numbers) > 1
    sign = _direction(cosines, numbers) if usable else 0
    tops = [float(a.numbers.max()) for a in evidence.answers if len(a.ids)]
    tops_are_one = bool(tops) and all(abs(top - 1.0) <= 1e-6 for top in tops)
    if sign != 0:
        return Shape(False, tops_are_one, True, _line(cosines, numbers))
    spread = float(np.ptp(numbers)) if usable else 0.0
    several = [a for a in evidence.answers if len(a.ids) > 1 and np.ptp(a.cosines) > _APART] if usable else []
    signs = {_direction(a.cosines, a.numbers, spread) for a in several}
    return Shape(tops_are_one or (len(several) > 1 and signs in ({1}, {-1})), tops_are_one, False, None)


def _direction(cosines: Floats, numbers: Floats, spread: float | None = None) -> int:
    """Give 1 if numbers only rise with the cosine, -1 if they only fall, 0 if they do both or neither."""
    least = _APART * (float(np.ptp(numbers)) if spread is None else spread)
    apart = np.subtract.outer(cosines, cosines) > _APART
    steps = np.subtract.outer(numbers, numbers)[apart]
    rises, falls = bool((steps > least).any()), bool((steps < -least).any())
    return int(rises) - int(falls)


def _line(cosines: Floats, numbers: Floats) -> tuple[float, float] | None:
    slope, start = np.polyfit(cosines, numbers, 1)
    straight = np.abs(start + slope * cosines - numbers).max() <= _APART * float(np.ptp(numbers))
    return (float(start), float(slope)) if straight and slope != 0 else None
