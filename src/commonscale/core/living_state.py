"""The banks behind a living calibration, and whoever follows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.errors import InvalidInputError
from commonscale.core.failures import FailurePolicy
from commonscale.core.living_bank import LivingBank, Settings
from commonscale.core.search import JointSearch
from commonscale.core.types import Floats, Modality, Question, Source

KINDS = ("text", "image")
"""The kinds of questions, each of which has a bank of its own."""


class LivingState:
    """What is known, made into a calibration after every change: readers have the old one or the new one, whole.

    Attributes:
        sources: one source per modality.
        provenance: where each modality's cosines come from.
        settings: what ``fit`` was told.
    """

    def __init__(
        self,
        banks: Mapping[str, LivingBank],
        sources: Mapping[Modality, Source],
        settings: Settings,
        provenance: Mapping[Modality, Provenance],
        failures: FailurePolicy,
    ) -> None:
        """Put together what ``fit`` or ``load`` made; use these."""
        self.sources = dict(sources)
        self.provenance = dict(provenance)
        self.settings = settings
        self._banks = dict(banks)
        self._failures = failures
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[Calibration], object]] = []
        made = self._made()
        if made is None:
            raise InvalidInputError(
                f"the questions found no document in any of {sorted(self.sources)}; index documents first, then "
                f"calibrate"
            )
        self._calibration, self._reference = made, self._best()

    def __repr__(self) -> str:
        questions = {kind: len(bank.questions) for kind, bank in self._banks.items()}
        return (
            f"{type(self).__name__}(method={self.settings.method!r}, questions={questions}, "
            f"modalities={list(self.sources)})"
        )

    @property
    def calibration(self) -> Calibration:
        """The newest calibration; immutable, so whoever reads it holds one whole.

        When all documents are gone it stays the last one, until others come.
        """
        return self._calibration

    @property
    def searched(self) -> int:
        """How many banked questions have been searched since the last fit, over all modalities."""
        return sum(living.searched for bank in self._banks.values() for living in bank.modalities.values())

    @property
    def scans(self) -> int:
        """How many times all documents of a modality have been read anew since the last fit."""
        return sum(living.scans for bank in self._banks.values() for living in bank.modalities.values())

    @property
    def shift(self) -> dict[Modality, float]:
        """How far the mean of each modality's unit vectors has moved from the one that is subtracted, as a distance."""
        with self._lock:
            return {
                modality: max(bank.modalities[modality].shift for bank in self._banks.values())
                for modality in self.sources
            }

    def questions(self, kind: str = "text") -> tuple[Question, ...]:
        """Give the bank of a kind of questions, empty if there is none."""
        bank = self._banks.get(kind)
        return () if bank is None else bank.questions

    def reference(self) -> dict[Modality, Floats]:
        """Give the best similarities of the banked questions in words, by modality: what drift is measured against.

        For the chance level each is what it would be if the question were not in the bank, as those that come are not.
        """
        # Without the lock: searches that are watched for drift must not wait for updates.
        return dict(self._reference)

    def on_change(self, callback: Callable[[Calibration], object]) -> Callable[[], None]:
        """Call a function with every new calibration, in the thread of the update and in the order of updates.

        Args:
            callback: keep it short: the next update waits for it. If it raises, the calibration is the new one all the
                same and the other functions are called; then the update raises the first error.

        Returns:
            A function that ends it.
        """
        with self._lock:
            self._callbacks.append(callback)

        def end() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return end

    def attach(self, search: JointSearch) -> Callable[[], None]:
        """Let a search use the newest calibration from now on.

        Args:
            search: the search; each of its searches uses one calibration, whole.

        Returns:
            A function that ends it; the search keeps the calibration of then.

        Raises:
            CalibrationMismatchError: if its provenance is another.
        """

        def follow(calibration: Calibration) -> None:
            search.calibration = calibration

        with self._lock:
            follow(self._calibration)
            return self.on_change(follow)

    def _update(self, work: Callable[[LivingBank], None]) -> None:
        with self._lock:
            failed: Exception | None = None
            for bank in self._banks.values():
                try:
                    work(bank)
                except Exception as error:  # noqa: BLE001 (the other bank must learn of the change all the same)
                    failed = failed or error
            if failed is not None:
                raise failed
            limit = self.settings.recenter_beyond
            if limit is not None and max(self.shift.values()) > limit:
                self._banks = self._refitted(())
            self._publish()

    def _publish(self) -> None:
        """Swap the calibration: readers have the old one or the new one, whole.

        Raises:
            Exception: the first that a callback raised, after all of them were called.
        """
        made = self._made()
        if made is None:
            return
        self._calibration, self._reference = made, self._best()
        failed: Exception | None = None
        for callback in tuple(self._callbacks):
            try:
                callback(made)
            except Exception as error:  # noqa: BLE001 (the others must learn of the calibration all the same)
                failed = failed or error
        if failed is not None:
            raise failed

    def _best(self) -> dict[Modality, Floats]:
        bank = self._banks.get("text")
        found = {} if bank is None else {m: living.reference for m, living in bank.modalities.items()}
        return {modality: values[~np.isnan(values)] for modality, values in found.items()}

    def _made(self) -> Calibration | None:
        scales = {kind: bank.scale(self.provenance) for kind, bank in self._banks.items()}
        words, pictures = scales.get("text"), scales.get("image")
        if words is None:
            return None if pictures is None else replace(pictures, modalities={}, strata={}, image_questions=pictures)
        return replace(words, image_questions=pictures)

    def _refitted(self, questions: Sequence[Question]) -> dict[str, LivingBank]:
        banks = {}
        for kind in KINDS:
            own = [question for question in questions if question.kind == kind]
            old = self._banks.get(kind)
            if own:
                capacity = old.reservoir.capacity if old and self.settings.capacity is None else self.settings.capacity
                banks[kind] = LivingBank(own, self.sources, replace(self.settings, capacity=capacity), self._failures)
            elif old is not None:
                banks[kind] = old.copy(self.sources, self._failures)
        for bank in banks.values():
            bank.fit()
            bank.check()
        return banks

    def _known(self, modality: Modality) -> Modality:
        if modality not in self.sources:
            raise InvalidInputError(f"there is no modality {modality!r}, only {sorted(self.sources)}")
        return modality


def fitted_banks(
    questions: Sequence[Question], sources: Mapping[Modality, Source], settings: Settings, failures: FailurePolicy
) -> dict[str, LivingBank]:
    """Draw and fit a bank for each kind of questions; ``LivingBank.check`` warns of what is too little."""
    banks = {}
    for kind in KINDS:
        own = [question for question in questions if question.kind == kind]
        if own:
            banks[kind] = bank = LivingBank(own, sources, settings, failures)
            bank.fit()
    return banks
