"""How many questions are enough: what is left to chance in scales that are learned from n questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from commonscale.core.statistics import SMALLEST_STD
from commonscale.core.types import Floats, Modality
from commonscale.diagnostics.draws import generator

SIZES = (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000)
"""Sizes of banks that are looked at."""

LIMIT = 0.05
"""Enough: between two banks of this size, drawn apart, no more than this share of the first hits goes to another
modality."""

LEVEL = 1.15
"""A curve has levelled off where it is no higher than this many times its last value."""

LONG = 100
"""Whether a curve has levelled off can only be told if it reaches this many questions."""

DRAWS = 200
"""Banks drawn of each size."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Wobble:
    """Standard errors of one modality's scale when it is learned from n questions.

    Attributes:
        location: of what is subtracted, in units of cosine.
        scale: of what it is divided by, in units of cosine (chance: of the root of the spread).
        score: of the score of its average best hit, in units of score.
    """

    location: float
    scale: float
    score: float


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """What is left to chance, by size of the bank.

    Attributes:
        sizes: numbers of questions (s).
        wobble: by modality, one per size.
        between: largest variation of the difference in score between the average best hits of two modalities (s):
            what decides which of them comes first; 0 with one modality.
        moved: share of the first hits that go to another modality from one bank of this size to another (s).
        changed: share of the first hits that are other documents (s): at least ``moved``, and more for methods whose
            order within a modality depends on the bank.
        enough: the least size from which on ``moved`` is at most ``LIMIT``; None if not even at the largest.
        level: whether ``enough`` is instead where the curve levels off: larger banks move about as many.
    """

    sizes: tuple[int, ...]
    wobble: Mapping[Modality, tuple[Wobble, ...]]
    between: tuple[float, ...]
    moved: tuple[float, ...]
    changed: tuple[float, ...]
    enough: int | None
    level: bool


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The scales of many banks of one size; the i-th and the (i + n / 2)-th are drawn apart.

    Attributes:
        locations: (n, m), one column per modality.
        scales: (n, m).
        scores: score of each modality's average best hit (n, m).
        moved: share of the first hits that go to another modality from one bank to another, drawn apart, on average.
        changed: share of the first hits that are other documents.
    """

    locations: Floats
    scales: Floats
    scores: Floats
    moved: float
    changed: float


def build_curve(
    modalities: Sequence[Modality], sizes: Iterable[int], draw: Callable[[int], Drawn], *, levels_off: bool = False
) -> LearningCurve:
    """Gather what was drawn for each size.

    Args:
        modalities: the modalities, m of them.
        sizes: sizes to look at, ascending.
        draw: draws banks of a size.
        levels_off: whether what is left to chance does not vanish with larger banks.
    """
    done = tuple(sizes)
    wobble: dict[Modality, list[Wobble]] = {modality: [] for modality in modalities}
    between, moved, changed = [], [], []
    for size in done:
        drawn = draw(size)
        errors = [standard_error(values) for values in (drawn.locations, drawn.scales, drawn.scores)]
        for at, modality in enumerate(modalities):
            wobble[modality].append(Wobble(*(float(values[at]) for values in errors)))
        pairs = list(combinations(range(len(modalities)), 2))
        apart = np.stack([drawn.scores[:, a] - drawn.scores[:, b] for a, b in pairs], axis=1) if pairs else None
        between.append(0.0 if apart is None else float(standard_error(apart).max()))
        moved.append(drawn.moved)
        changed.append(drawn.changed)
    rows = {modality: tuple(entries) for modality, entries in wobble.items()}
    return LearningCurve(done, rows, tuple(between), tuple(moved), tuple(changed), *_enough(done, moved, levels_off))


def standard_error(values: Floats) -> Floats:
    """Give the standard deviation (m,) of draws (n, m) from the differences of those that were drawn apart.

    Two samples that share nothing differ by twice the variance of one, also where both come from a small stock, in
    which the plain standard deviation of the draws would be too small.
    """
    half = len(values) // 2
    errors: Floats = np.sqrt(((values[:half] - values[half : 2 * half]) ** 2).mean(axis=0) / 2)
    return errors


def draw_standardized(best: Floats, hits: Floats, k: int, seed: int) -> Callable[[int], Drawn]:
    """Draw banks for standardization: means and standard deviations of best hits.

    Banks are drawn from the questions with replacement (bootstrap), so also larger ones than there are. Within a
    modality the order never changes, so which documents come first follows from how many of each modality do.

    Args:
        best: cosine of each banked question's best hit (c, m).
        hits: highest cosines of other questions (q, m, k), descending; -inf where a modality has fewer.
        k: how many hits are looked at.
        seed: of the draws.
    """

    def draw(size: int) -> Drawn:
        random = generator(seed, "banks", size)
        chosen = best[random.integers(0, len(best), (DRAWS, size))]
        locations, spreads = chosen.mean(axis=1), chosen.std(axis=1)
        scales = np.where(spreads > SMALLEST_STD, spreads, 1.0)
        counts = np.stack([merged_counts(hits, *scale, k) for scale in zip(locations, scales, strict=True)])
        one, other = counts[: DRAWS // 2], counts[DRAWS // 2 :]
        total = np.maximum(counts[0].sum(axis=-1), 1)
        moved = float((np.abs(one - other).sum(axis=-1) / 2 / total).mean())
        return Drawn(locations, scales, (best.mean(axis=0) - locations) / scales, moved, moved)

    return draw


def merged_counts(hits: Floats, locations: Floats, scales: Floats, k: int) -> Counts:
    """Count how many of the first ``k`` hits are of each modality, under a scale.

    Args:
        hits: highest similarities (q, m, n), -inf where there are fewer.
        locations: (m,).
        scales: (m,).
        k: how many.

    Returns:
        Counts (q, m).
    """
    questions, modalities, depth = hits.shape
    scores = (hits - locations[:, None]) / scales[:, None]
    flat = scores.reshape(questions, modalities * depth)
    order = np.argsort(-flat, axis=1, kind="stable")[:, :k]
    real = np.isfinite(np.take_along_axis(flat, order, axis=1))
    return np.stack([((order // depth == at) & real).sum(axis=1) for at in range(modalities)], axis=1)


def _enough(sizes: Sequence[int], moved: Sequence[float], levels_off: bool) -> tuple[int | None, bool]:
    within = _first_within(sizes, moved, LIMIT)
    if within is not None or not levels_off or not sizes:
        return within, False
    settled = _first_within(sizes, moved, LEVEL * moved[-1]) or sizes[-1]
    # Only with much larger sizes to compare with: the last one is always level with itself.
    return (settled, True) if sizes[-1] >= LONG and settled <= sizes[-1] / 2 else (None, False)


def _first_within(sizes: Sequence[int], moved: Sequence[float], limit: float) -> int | None:
    return next((size for at, size in enumerate(sizes) if max(moved[at:]) <= limit), None)
