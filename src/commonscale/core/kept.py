"""A retriever that follows a living calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from commonscale.core.calibration import Calibration
from commonscale.core.changes import follow
from commonscale.core.drift import DriftMonitor
from commonscale.core.errors import InvalidInputError
from commonscale.core.living import LivingCalibration
from commonscale.core.search import Observer
from commonscale.core.types import Candidates, Modality, Question


class Kept:
    """Gives a search, or a retriever, the newest calibration, as documents come and go in the stores that it searches.

    It ends by itself once somebody assigns another calibration.

    Attributes:
        living: the calibration that is followed.
    """

    def __init__(self, living: LivingCalibration, owner: Any, *, stores: bool = True) -> None:
        """Begin.

        Args:
            living: the calibration.
            owner: what has an attribute ``calibration``.
            stores: whether to follow the stores, too, or only what changes by itself (``join``, ``refit``).

        Raises:
            InvalidInputError: if no store tells of its changes.
            CalibrationMismatchError: if the calibration is for other models.
        """
        self.living = living
        self._owner = owner
        self._given = living.calibration
        self._ends: list[Callable[[], None]] = []
        owner.calibration = self._given
        if stores:
            self._ends.append(follow(living))
        self._ends.append(living.on_change(self._take))
        # What changed before anybody listened.
        self._take(living.calibration)

    def __deepcopy__(self, memo: dict[int, object]) -> Kept:
        # The stores are told of, and the calibration is, the same for a copy.
        return self

    @property
    def going(self) -> bool:
        """Whether the calibration in use is still that of the living one."""
        return bool(self._ends) and self._owner.calibration is self._given

    def watch(self, monitor: DriftMonitor) -> Observer:
        """Give what shows a monitor what a search finds, as long as the calibration in use is the living one's."""

        def observe(questions: Sequence[Question], found: Mapping[Modality, Sequence[Candidates]]) -> None:
            if self.going:
                monitor.observe_found(questions, found)

        return observe

    def also_end(self, end: Callable[[], None]) -> None:
        """Call a function when this ends."""
        self._ends.append(end)

    def end(self) -> None:
        """Stop; the calibration in use stays."""
        while self._ends:
            self._ends.pop()()

    def _take(self, calibration: Calibration) -> None:
        if self._owner.calibration is not self._given:
            self.end()
        elif self._given is not calibration:
            self._owner.calibration = self._given = calibration


def watched(kept: Kept | None) -> Kept:
    """Give what is kept, to watch the questions that are ranked by it.

    Raises:
        InvalidInputError: if nothing is kept, or another calibration has been assigned since.
    """
    if kept is None or not kept.going:
        raise InvalidInputError(
            "incoming questions are compared with banked ones: give some, watch_drift(questions), or call "
            "keep_calibrated(questions) first"
        )
    return kept
