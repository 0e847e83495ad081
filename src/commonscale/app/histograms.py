"""Histograms as SVG: one axis, one outline for each modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from commonscale.core.types import Floats, Modality

BINS = 36
WIDTH, HEIGHT = 320.0, 96.0
_TICKS = 5  # about so many numbers below the axis


@dataclass(frozen=True, slots=True)
class Tick:
    """A number below the axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Outline:
    """One modality's histogram: the points of a polygon as SVG writes them, and where its mean is."""

    modality: Modality
    points: str
    mean: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Several modalities on one axis, in a box of ``WIDTH`` by ``HEIGHT``.

    Attributes:
        outlines: by modality.
        ticks: below the axis.
        words: what is to be seen, for people who do not see it.
    """

    outlines: tuple[Outline, ...]
    ticks: tuple[Tick, ...]
    words: str


def histogram(values: Mapping[Modality, Floats], names: Mapping[Modality, str]) -> Histogram:
    """Draw values by modality.

    Args:
        values: shape (n,) by modality, at least one value each.
        names: what modalities are called.

    Returns:
        The drawing; every modality's area is the same, whatever the number of its values.
    """
    together = np.concatenate(list(values.values()))
    low, high = float(together.min()), float(together.max())
    margin = 0.04 * (high - low) or 0.5  # equal values have no width of their own
    low, high = low - margin, high + margin
    counts = {m: np.histogram(own, bins=BINS, range=(low, high))[0] / own.size for m, own in values.items()}
    top = max(float(share.max()) for share in counts.values())
    outlines = tuple(
        Outline(m, _steps(share / top), round(_x(float(values[m].mean()), low, high), 1)) for m, share in counts.items()
    )
    return Histogram(outlines, _ticks(low, high), _words(values, names))


def _x(value: float, low: float, high: float) -> float:
    return WIDTH * (value - low) / (high - low)


def _steps(heights: Floats) -> str:
    width = WIDTH / BINS
    corners = [(0.0, HEIGHT)]
    for number, height in enumerate(heights):
        y = HEIGHT - 0.94 * HEIGHT * float(height)
        corners += [(number * width, y), ((number + 1) * width, y)]
    corners.append((WIDTH, HEIGHT))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _ticks(low: float, high: float) -> tuple[Tick, ...]:
    rough = (high - low) / _TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough))
    places = max(0, -int(np.floor(np.log10(step))))
    first = int(np.ceil(low / step))
    last = int(np.floor(high / step))
    return tuple(
        Tick(round(_x(number * step, low, high), 1), f"{number * step + 0.0:.{places}f}")
        for number in range(first, last + 1)
    )


def _words(values: Mapping[Modality, Floats], names: Mapping[Modality, str]) -> str:
    each = (f"{names[m]}: mean {own.mean():.2f}, from {own.min():.2f} to {own.max():.2f}" for m, own in values.items())
    return "; ".join(each)
