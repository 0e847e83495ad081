"""A retriever that follows a living calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from commonscale.core.calibrated_search import Observer
from commonscale.core.calibration import Calibration
from commonscale.core.changes import follow
from commonscale.core.drift import DriftMonitor
from commonscale.core.errors import CalibrationMismatchError, InvalidInputError, StaleCalibrationWarning
from commonscale.core.living import LivingCalibration
from commonscale.core.types import Candidates, Modality, Question
from commonscale.core.warn import warn


class Kept:
    """Gives a search, or a retriever, the newest calibration, as documents come and go in the stores that it searches.

    It ends by itself once somebody assigns another calibration. If the living calibration is of questions in words
    only, or of pictures only, the scale of the others stays as it was.

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

        Warns:
            StaleCalibrationWarning: if some stores do not tell, a scale of before stays and is not kept up to date, or
                scales of strata are gone.
        """
        self.living = living
        self._owner = owner
        self._stores = stores
        self._ends: list[Callable[[], None]] = []
        before: Calibration | None = owner.calibration
        self._words, self._pictures = _others(before, living)
        self._given = self._begin(living.calibration)
        self._warn(before)
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

    def replaced(self) -> None:
        """End, and say so, if ``calibrate`` has put another calibration in the place of the living one."""
        if not self._ends or self.going:
            return
        self.end()
        if self._stores:
            warn(
                "the calibration is no longer kept up to date as documents come and go: calibrate has put another in "
                "its place; call keep_calibrated(questions, images=...) instead, which learns both scales and keeps "
                "them",
                StaleCalibrationWarning,
            )

    def end(self) -> None:
        """Stop; the calibration in use stays."""
        while self._ends:
            self._ends.pop()()

    def _begin(self, calibration: Calibration) -> Calibration:
        """Put the calibration into use; a scale of before that is for other models is left out."""
        try:
            self._owner.calibration = joined = self._joined(calibration)
        except CalibrationMismatchError:
            self._words = self._pictures = None
            self._owner.calibration = joined = calibration
        self._newest = calibration
        return joined

    def _take(self, calibration: Calibration) -> None:
        if self._owner.calibration is not self._given:
            self.end()
        elif self._newest is not calibration:
            self._newest = calibration
            self._owner.calibration = self._given = self._joined(calibration)

    def _joined(self, calibration: Calibration) -> Calibration:
        """Add the scale of before of a kind of questions of which there is none."""
        if not calibration.modalities and self._words is not None:
            return replace(self._words, image_questions=calibration.image_questions)
        if calibration.image_questions is None and self._pictures is not None:
            return replace(calibration, image_questions=self._pictures)
        return calibration

    def _warn(self, before: Calibration | None) -> None:
        """Say what of the calibration of before is not kept up to date, or gone."""
        for stays, kind, missing in (
            (self._words, "in words", "questions"),
            (self._pictures, "that are pictures", "images="),
        ):
            if stays is not None and self._stores:
                warn(
                    f"the scale of questions {kind} stays as it was fitted, {stays.created:%Y-%m-%d %H:%M} UTC, and is "
                    f"not kept up to date as documents come and go; give {missing} as well to keep both",
                    StaleCalibrationWarning,
                )
        lost = [] if before is None else [repr(key) for key in before.strata if key not in self._given.strata]
        if lost:
            warn(
                f"the scales of strata {', '.join(lost)} are gone, since none of the new questions has such a key: "
                f"their questions have the scale of all now; give strata=, one key for each question, or stratum= to "
                f"the retriever",
                StaleCalibrationWarning,
            )


def _others(before: Calibration | None, living: LivingCalibration) -> tuple[Calibration | None, Calibration | None]:
    """Give the scales of before, of words and of pictures, that a living calibration has no questions for."""
    if before is None:
        return None, None
    words = replace(before, image_questions=None) if before.modalities else None
    return None if living.questions("text") else words, None if living.questions("image") else before.image_questions


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
