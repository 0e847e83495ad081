"""Which score kind explains a store's numbers, and for vectors of which norms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from commonscale.core.cosines import SCORE_KINDS, TOLERANCE, Converter
from commonscale.core.types import Floats

NEAR = 0.03
"""Root mean square of what compression may add to a cosine; beyond it numbers count as another thing. The best
cosines of questions vary by about as much within a modality."""

_FLOOR = -40.0
"""``exp`` of far distances underflows, so what lies below is taken as equal."""


@dataclass(frozen=True, slots=True)
class Match:
    """A score kind that explains a store's numbers.

    Attributes:
        kind: its name; None for the caller's own function.
        measure: ``"cosine"``, or ``"inner product"`` or ``"L2 distance"`` of vectors as they are, of any norm.
        rms: root mean square of what remains unexplained.
        largest: the largest of it.
    """

    kind: str | None
    measure: str
    rms: float
    largest: float


def best_match(numbers: Floats, targets: Mapping[str, Floats], claimed: str | Converter | None) -> Match | None:
    """Find the score kind that explains a store's numbers.

    Args:
        numbers: the store's numbers (n,).
        targets: by measure, what a kind's conversion gives for vectors as they are (n,).
        claimed: what the numbers are taken for; it is preferred where several kinds fit.

    Returns:
        A kind that fits exactly; else the one that fits best, if it fits as compressed numbers do; else None.
    """
    near: list[Match] = []
    # Exact ones in the order of what is most likely meant; then, for compressed numbers, the closest one.
    for match in _matches(numbers, targets, claimed):
        if match.largest <= TOLERANCE:
            return match
        scatter = float(np.std(targets[match.measure]))
        if match.rms <= NEAR and match.rms <= scatter / 3:
            near.append(match)
    # On vectors of nearly unit norm all measures fit: the cosine is meant, unless another fits clearly better.
    return min(near, key=lambda match: match.rms * (1.0 if match.measure == "cosine" else 1.5), default=None)


def _matches(numbers: Floats, targets: Mapping[str, Floats], claimed: str | Converter | None) -> Iterator[Match]:
    if callable(claimed):
        yield Match(None, "cosine", *misfit(values_of(numbers, claimed), targets["cosine"]))
    kinds = sorted(SCORE_KINDS.values(), key=lambda kind: kind.name != claimed)
    for measure, target in targets.items():
        for kind in kinds:
            if measure == "cosine" or kind.unit_norm:
                yield Match(kind.name, measure, *misfit(values_of(numbers, kind.name), target))


def values_of(numbers: Floats, kind: str | Converter | None) -> Floats:
    """Convert numbers (n,) by a kind, without the checks of ``to_cosine``; NaN where they are no such numbers."""
    if kind is None:
        return np.full(len(numbers), np.nan)
    convert = kind if callable(kind) else SCORE_KINDS[kind].convert
    with np.errstate(all="ignore"):
        return np.asarray(convert(numbers), np.float64)


def misfit(values: Floats, target: Floats) -> tuple[float, float]:
    """Give root mean square and maximum of the differences; beyond [-1, 1] relative to the target's size."""
    with np.errstate(invalid="ignore"):
        differences = np.abs(np.maximum(values, _FLOOR) - np.maximum(target, _FLOOR))
    differences = differences / np.maximum(1.0, np.abs(target))
    differences = np.where(np.isnan(differences), np.inf, differences)
    return float(np.sqrt(np.mean(differences**2))), float(differences.max())


def kind_name(kind: str | Converter | None) -> str | None:
    """Name a score kind, also one that is a function."""
    return getattr(kind, "__name__", "custom") if callable(kind) else kind
