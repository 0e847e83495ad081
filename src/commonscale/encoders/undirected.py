"""Gathering vectors of items in order, and leaving out those that have no direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from commonscale.core.errors import EncoderError
from commonscale.encoders.base import ItemFailure, Vectors
from commonscale.encoders.vectors import unit_rows, usable_rows

NO_DIRECTION = "the model gave it a vector of norm zero, or with NaN or infinity"


@dataclass
class Found:
    """What came of the items of one call so far.

    Attributes:
        kept: places of those that have a vector.
        parts: their vectors, unit rows.
        failures: the others.
    """

    kept: list[int] = field(default_factory=list)
    parts: list[Vectors] = field(default_factory=list)
    failures: list[ItemFailure] = field(default_factory=list)

    def add(self, features: NDArray[Any], places: list[int], what: str, name: Callable[[int], str]) -> None:
        """Take in vectors, but those that have no direction.

        Args:
            features: of any norm, shape (n, d).
            places: of their items in what was given (n).
            what: ``"text"`` or ``"image"``.
            name: gives a short name of the item at a place.
        """
        good = usable_rows(features)
        self.kept += [place for place, fine in zip(places, good, strict=True) if fine]
        self.parts.append(unit_rows(features[good], what))
        bad = [place for place, fine in zip(places, good, strict=True) if not fine]
        self.failures += [ItemFailure(at, name(at), NO_DIRECTION, EncoderError(NO_DIRECTION)) for at in bad]

    @property
    def undirected(self) -> int:
        """How many vectors had no direction."""
        return sum(failure.reason == NO_DIRECTION for failure in self.failures)
