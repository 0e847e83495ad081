"""Noticing that users ask other questions than those that a calibration was fitted on, and acting on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from commonscale.core.calibration import Calibration
from commonscale.core.drift_windows import FALSE_ALARMS, WINDOWS, DriftTest, DriftWindows
from commonscale.core.errors import DriftWarning, InvalidInputError
from commonscale.core.methods import CENTERED
from commonscale.core.search import JointSearch
from commonscale.core.statistics import as_cosines
from commonscale.core.types import Candidates, Floats, Modality, Question, Ranking
from commonscale.core.warn import warn

ENOUGH = 100
"""Recent questions to wait for before calibrating on them; means and hub scores of fewer are noisy."""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What one observation found. Tests are made whenever a window is full, so mostly there are none.

    Attributes:
        tests: the tests that were due.
        recalibrated: whether a recalibration was started.
    """

    tests: tuple[DriftTest, ...] = ()
    recalibrated: bool = False

    @property
    def alarms(self) -> tuple[DriftTest, ...]:
        """The tests that found drift."""
        return tuple(test for test in self.tests if test.drifted)

    @property
    def drifted(self) -> bool:
        """Whether one found drift."""
        return bool(self.alarms)

    def __str__(self) -> str:
        return "; ".join(map(str, self.alarms or self.tests)) or "no window is full yet"


class Followed(Protocol):
    """What a monitor asks of a living calibration."""

    @property
    def calibration(self) -> Calibration:
        """The newest calibration."""
        ...

    def reference(self) -> Mapping[Modality, Floats]:
        """Give the best similarities of the banked questions, by modality."""
        ...

    def refit(self, questions: Sequence[Question] | None = None) -> Calibration:
        """Fit everything anew, on other questions if some are given."""
        ...


Policy: TypeAlias = Literal["report", "warn", "recalibrate"] | Callable[[DriftReport], object]
_POLICIES = ("report", "warn", "recalibrate")


class DriftMonitor:
    """Watches the best hits of incoming questions; safe to use from several threads.

    The newest values are compared with the bank's as it is then: documents that come and go change both alike, as long
    as the living calibration is told of them, so what remains is a change of the questions.
    """

    def __init__(
        self,
        reference: Followed | Mapping[Modality, npt.ArrayLike],
        *,
        policy: Policy = "warn",
        windows: Sequence[int] = WINDOWS,
        false_alarms: float = FALSE_ALARMS,
        enough: int = ENOUGH,
        run: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        """Set up the monitor.

        Args:
            reference: the living calibration; or best similarities of a bank by modality, (C,) each.
            policy: what an alarm does beside the report: ``"report"`` nothing; ``"warn"`` a ``DriftWarning``;
                ``"recalibrate"`` makes the newest questions the bank of the living calibration; a function is called
                with the report.
            windows: how many questions to compare at once, each at least 10.
            false_alarms: how many to allow per 1,000 questions, in expectation (see ``DriftWindows``).
            enough: how many of the newest questions to wait for before recalibrating, at least 1.
            run: runs the recalibration where you want it, such as ``executor.submit``; None runs it within
                ``observe``. Searches go on meanwhile with the calibration in use.

        Raises:
            InvalidInputError: if the reference or a setting cannot be used.
        """
        _check(reference)
        if not callable(policy) and policy not in _POLICIES:
            raise InvalidInputError(f"policy must be one of {', '.join(_POLICIES)}, or a function, got {policy!r}")
        if policy == "recalibrate" and isinstance(reference, Mapping):
            raise InvalidInputError("policy 'recalibrate' needs a LivingCalibration to watch, got plain values")
        if isinstance(enough, bool) or not isinstance(enough, (int, np.integer)) or enough < 1:
            raise InvalidInputError(f"enough must be an integer of at least 1, got {enough!r}")
        self._windows = DriftWindows(windows, false_alarms)
        self._reference = reference
        self._policy = policy
        self._enough = int(enough)
        self._run = run or (lambda work: work())
        self._lock = threading.Lock()
        self._recent: list[Question] = []
        self._due = False
        self._busy = False

    def __repr__(self) -> str:
        reference = self._reference
        watched = f"best hits of {list(reference)}" if isinstance(reference, Mapping) else repr(reference)
        policy = self._policy if isinstance(self._policy, str) else getattr(self._policy, "__name__", "function")
        return f"DriftMonitor({watched}, policy={policy!r}, windows={self._windows.lengths})"

    def observe(
        self,
        observed: Mapping[Modality, npt.ArrayLike] | Ranking | Iterable[Ranking],
        questions: Iterable[Question] = (),
    ) -> DriftReport:
        """Take in the best hits of some questions, test the windows that are full, and act by the policy.

        Args:
            observed: best similarities by modality, in the units of the calibration's method, (n,) each, NaN where
                nothing was found. Or rankings of a search that uses the living calibration, without a prior: one
                tells only of modalities with a hit in it, and leaving out low best hits would itself look like
                drift, so search with ``minimum={modality: 1}`` for each.
            questions: the questions, which recalibrating needs. Questions that are pictures have a scale of their own:
                leave them and their hits out.

        Returns:
            The tests that were due.

        Raises:
            InvalidInputError: if rankings come without a living calibration, or values cannot be used.
        """
        best = self._values(observed)
        with self._lock:
            if self._busy:
                return DriftReport()
            self._recent = [*self._recent, *questions][-max(self._enough, self._windows.lengths[-1]) :]
            tests = tuple(self._windows.add(best, self._bank()))
            report = DriftReport(tests)
            taken = self._decide(report)
        if taken is not None:
            report = DriftReport(tests, recalibrated=True)
            self._run(lambda: self._recalibrate(taken))
        if report.drifted and callable(self._policy):
            self._policy(report)
        elif report.drifted and self._policy == "warn":
            warn(f"{report}; calibrate again on recent questions, or let policy='recalibrate' do so", DriftWarning)
        return report

    def attach(self, search: JointSearch) -> Callable[[], None]:
        """Observe every question in words that a search answers on the common scale.

        Args:
            search: the search; it should follow the living calibration (see ``LivingCalibration.attach``).

        Returns:
            A function that ends it.

        Raises:
            InvalidInputError: if it is no ``JointSearch``.
        """
        if not isinstance(search, JointSearch):
            raise InvalidInputError(
                f"attach takes a JointSearch, got a {type(search).__name__}; a retriever watches by itself: call "
                f"retriever.watch_drift(questions), or retriever.watch_drift() after keep_calibrated"
            )
        observer = self.observe_found
        search.observer = observer

        def end() -> None:
            if search.observer is observer:
                search.observer = None

        return end

    def observe_found(self, questions: Sequence[Question], found: Mapping[Modality, Sequence[Candidates]]) -> None:
        """Observe what a search found for its questions, before merging: what ``JointSearch.observer`` is called with.

        Args:
            questions: the questions; those that are pictures are left out.
            found: the candidates of each, by modality.
        """
        worded = [place for place, question in enumerate(questions) if question.kind == "text"]
        best = {m: [_best(candidates[place]) for place in worded] for m, candidates in found.items()}
        self.observe(best, [questions[place] for place in worded])

    def reset(self) -> None:
        """Begin anew with empty windows."""
        with self._lock:
            self._windows.clear()
            self._recent = []
            self._due = self._busy = False

    def _decide(self, report: DriftReport) -> tuple[Question, ...] | None:
        """Give the questions to calibrate on now; None if it is not the time, none of them for those of the bank."""
        if self._policy != "recalibrate":
            return None
        if report.drifted and not self._due:
            self._due = True
            # What came before the shortest window that noticed is mostly of before the change.
            self._recent = self._recent[-min(test.window for test in report.alarms) :]
        if not self._due or 0 < len(self._recent) < self._enough:
            return None
        self._busy = True
        return tuple(self._recent)

    def _recalibrate(self, questions: tuple[Question, ...]) -> None:
        try:
            if not isinstance(self._reference, Mapping):
                self._reference.refit(questions or None)
        finally:
            self.reset()

    def _bank(self) -> dict[Modality, Floats]:
        reference = self._reference if isinstance(self._reference, Mapping) else self._reference.reference()
        return {modality: _found(values, modality) for modality, values in reference.items()}

    def _values(self, observed: Mapping[Modality, npt.ArrayLike] | Ranking | Iterable[Ranking]) -> dict[str, Floats]:
        if isinstance(observed, Mapping):
            return {modality: _found(values, modality) for modality, values in observed.items()}
        if isinstance(self._reference, Mapping):
            raise InvalidInputError(
                "rankings hold scores, which only a living calibration can turn back into similarities; give best "
                "similarities by modality, or make the monitor with a LivingCalibration"
            )
        calibration = self._reference.calibration
        rankings = [observed] if isinstance(observed, Ranking) else list(observed)
        best: dict[Modality, Floats] = {}
        for modality, entry in calibration.modalities.items():
            scores = np.array([max(hit.score for hit in hits) for one in rankings if (hits := one.of(modality))])
            best[modality] = scores if calibration.method == CENTERED else scores * entry.scale + entry.location
        return best


def _check(reference: object) -> None:
    """Refuse what tells no best hits of a bank.

    Raises:
        InvalidInputError: if it is neither values by modality nor a living calibration.
    """
    if isinstance(reference, Mapping) or all(hasattr(reference, n) for n in ("calibration", "reference", "refit")):
        return
    raise InvalidInputError(
        f"drift is measured against the best hits of banked questions, which a {type(reference).__name__} does not "
        f"hold; give a LivingCalibration, or best similarities by modality"
    )


def _best(candidates: Candidates) -> float:
    values = candidates.cosines if candidates.similarities is None else candidates.similarities
    return float(values[0]) if len(values) else np.nan


def _found(values: npt.ArrayLike, modality: Modality) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return as_cosines(array[~np.isnan(array)] if array.ndim == 1 else array, what=f"best hits of {modality!r}")
