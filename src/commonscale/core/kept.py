"""A retriever that follows a living calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from commonscale.core.calibration import Calibration
from commonscale.core.changes import follow
from commonscale.core.living import LivingCalibration


class Kept:
    """Gives a search, or a retriever, the newest calibration, as documents come and go in the stores that it searches.

    It ends by itself once somebody assigns another calibration.

    Attributes:
        living: the calibration that is followed.
    """

    def __init__(self, living: LivingCalibration, owner: Any) -> None:
        """Begin.

        Args:
            living: the calibration.
            owner: what has an attribute ``calibration``.

        Raises:
            InvalidInputError: if no store tells of its changes.
            CalibrationMismatchError: if the calibration is for other models.
        """
        self.living = living
        self._owner = owner
        self._given = living.calibration
        self._ends: list[Callable[[], None]] = []
        owner.calibration = self._given
        self._ends.append(follow(living))
        self._ends.append(living.on_change(self._take))
        # What changed before anybody listened.
        self._take(living.calibration)

    def __deepcopy__(self, memo: dict[int, object]) -> Kept:
        # The stores are told of, and the calibration is, the same for a copy.
        return self

    def end(self) -> None:
        """Stop; the calibration in use stays."""
        while self._ends:
            self._ends.pop()()

    def _take(self, calibration: Calibration) -> None:
        if self._owner.calibration is not self._given:
            self.end()
        elif self._given is not calibration:
            self._owner.calibration = self._given = calibration
