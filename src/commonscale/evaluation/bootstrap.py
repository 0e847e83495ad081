"""Paired bootstrap over questions: how far a figure could lie from where these questions put it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from commonscale.core.types import Floats, Modality

LEVEL = 0.95
"""Share of the resamples that an interval holds."""

RESAMPLES = 10_000
SEED = 0

FEWEST = 20
"""Questions below which there is no interval: percentile intervals of so few are too narrow to be believed."""

_BLOCK = 4_000_000  # draws at once, 32 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95% interval.

    Attributes:
        value: the figure, on all questions.
        low: the lower bound; None if there are too few questions for an interval.
        high: the upper bound; None likewise.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 or -1 if the whole interval lies above or below zero, else 0: then nothing is decided."""
        if self.low is None or self.high is None or self.low <= 0.0 <= self.high:
            return 0
        return 1 if self.low > 0.0 else -1


def interval(value: float, resampled: Floats | None) -> Interval:
    """Give the percentile interval of a figure.

    Args:
        value: the figure.
        resampled: the figure in every resample (B,); None, or values that are not finite (a ratio to nothing), give no
            interval.
    """
    if resampled is None or not np.isfinite(resampled).all():
        return Interval(value, None, None)
    low, high = np.quantile(resampled, [(1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2]).tolist()
    return Interval(value, low, high)


def resampled_means(
    questions: Mapping[Modality, npt.NDArray[np.int64]], values: Mapping[Modality, Floats]
) -> dict[Modality, Floats | None]:
    """Average figures over bootstrap resamples of the questions (Efron 1979), the same resamples for all of them.

    So differences between columns are paired, and so are those between modalities where questions belong to both.
    Questions about texts, about images and about both are resampled apart: their numbers belong to the benchmark.

    Args:
        questions: the numbers of the questions of each modality (n,), ascending.
        values: figures of these questions (n, m), one column per method and metric.

    Returns:
        Means (B, m) by modality, with a fixed seed; None for a modality of fewer than ``FEWEST`` questions.
    """
    everyone = np.unique(np.concatenate(list(questions.values())))
    member = {modality: np.isin(everyone, numbers) for modality, numbers in questions.items()}
    kinds = np.unique(np.stack(list(member.values()), axis=1), axis=0, return_inverse=True)[1].ravel()
    sums = {modality: np.empty((RESAMPLES, columns.shape[1])) for modality, columns in values.items()}
    for start, counts in _resamples(kinds):
        for modality, columns in values.items():
            sums[modality][start : start + len(counts)] = counts[:, member[modality]] @ columns
    return {m: sums[m] / len(numbers) if len(numbers) >= FEWEST else None for m, numbers in questions.items()}


def _resamples(kinds: npt.NDArray[np.intp]) -> Iterator[tuple[int, Floats]]:
    """Yield how often each question occurs in some resamples (b, n), and the number of the first of these."""
    rng = np.random.default_rng(SEED)
    groups = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    step = max(1, _BLOCK // len(kinds))
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        resamples = np.arange(count)[:, None] * len(kinds)
        drawn = [group[rng.integers(len(group), size=(count, len(group)))] + resamples for group in groups]
        times = np.bincount(np.concatenate(drawn, axis=1).ravel(), minlength=count * len(kinds))
        yield start, times.reshape(count, len(kinds)).astype(np.float64)
