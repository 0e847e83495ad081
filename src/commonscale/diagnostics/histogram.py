"""Counts of scores in bins, gathered block by block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How many values fall into each bin.

    Attributes:
        edges: borders of the bins (b + 1,), ascending.
        counts: values per bin (b,); the last bin includes its upper border.
    """

    edges: Floats
    counts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.edges.ndim != 1 or len(self.edges) != len(self.counts) + 1 or not (np.diff(self.edges) > 0).all():
            raise InvalidInputError(
                f"a histogram needs ascending edges, one more than counts, got {len(self.edges)} edges and "
                f"{len(self.counts)} counts"
            )

    @classmethod
    def of(cls, values: npt.ArrayLike, bins: int = 40, span: tuple[float, float] | None = None) -> Histogram:
        """Count values in bins of equal width.

        Args:
            values: any number of finite values.
            bins: how many bins, at least 1.
            span: lowest and highest border; by default those of the values. Values outside are not counted.

        Raises:
            InvalidInputError: if a value is not finite.
        """
        flat = np.asarray(values, dtype=np.float64).ravel()
        if not np.isfinite(flat).all():
            raise InvalidInputError(f"{int((~np.isfinite(flat)).sum())} of {flat.size} values are not finite")
        low, high = span or ((float(flat.min()), float(flat.max())) if flat.size else (0.0, 1.0))
        if not low < high:  # equal values have no width of their own
            low, high = low - 0.5, high + 0.5
        counts, edges = np.histogram(flat, bins=bins, range=(low, high))
        return cls(edges, counts.astype(np.int64))

    @classmethod
    def gather(cls, blocks: Iterable[npt.NDArray[np.floating]], edges: Floats) -> Histogram:
        """Count the values of many blocks, holding one of them at a time.

        Args:
            blocks: arrays of any shape; values beyond the edges count in the first or last bin.
            edges: borders of equally wide bins.
        """
        bins = len(edges) - 1
        counts = np.zeros(bins, dtype=np.int64)
        for block in blocks:
            # Equal widths: the bin is a multiplication away, many times faster than a search among the edges.
            place = ((block.ravel() - edges[0]) * (bins / (edges[-1] - edges[0]))).astype(np.int64)
            counts += np.bincount(np.clip(place, 0, bins - 1, out=place), minlength=bins)
        return cls(edges, counts)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def density(self) -> Floats:
        """Share of the values per unit of width (b,): the area under it is 1, or 0 without values."""
        widths: Floats = np.diff(self.edges)
        return self.counts / (widths * max(1, self.total))

    def mapped(self, location: float, scale: float) -> Histogram:
        """Give the histogram of ``(value - location) / scale``: the same counts between other borders.

        Args:
            location: what is subtracted.
            scale: what it is divided by, above 0.
        """
        return Histogram((self.edges - location) / scale, self.counts)

    def trimmed(self, bins: int = 40) -> Histogram:
        """Drop empty bins at both ends and join neighbours, to about ``bins`` bins, for a picture."""
        filled = np.flatnonzero(self.counts)
        if not filled.size:
            return self
        first, last = int(filled[0]), int(filled[-1]) + 1
        step = max(1, -(-(last - first) // bins))
        last = min(len(self.counts), first + step * -(-(last - first) // step))
        starts = np.arange(first, last, step)
        edges = np.append(self.edges[starts], self.edges[last])
        return Histogram(edges, np.add.reduceat(self.counts[:last], starts))
