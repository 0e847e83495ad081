"""The banked questions of one kind, and what every modality says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from commonscale.core.background import Background
from commonscale.core.calibration import Calibration, ModalityCalibration, Provenance
from commonscale.core.failures import FailurePolicy
from commonscale.core.living_corrected import CorrectedModality
from commonscale.core.living_modality import LivingModality
from commonscale.core.living_plain import PlainModality
from commonscale.core.methods import CHANCE, CORRECTED
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.questions import BestHits, QuestionBank
from commonscale.core.reservoir import Reservoir
from commonscale.core.statistics import ModalityStatistics
from commonscale.core.strata import PerQuestion, stratified
from commonscale.core.types import Modality, Question, Source


@dataclass(frozen=True, slots=True)
class Settings:
    """How a living calibration works; what ``LivingCalibration.fit`` was told.

    Attributes:
        method: name of the method.
        capacity: most questions of a bank.
        forgetting: half-life of banked questions, in questions; None to forget none sooner than others.
        keep_text: whether the wording of questions is kept.
        keep_vectors: whether the vectors of documents are kept.
        join_every: how many questions that entered the bank wait for each other before it is changed.
        recenter_beyond: how far a mean may move before everything is fitted anew; None for any distance.
        identical: for questions that are pictures: documents of a higher cosine are the question itself.
        seed: of the draws.
    """

    method: str
    capacity: int | None = None
    forgetting: float | None = None
    keep_text: bool = False
    keep_vectors: bool = False
    join_every: int | None = None
    recenter_beyond: float | None = None
    identical: float | None = IDENTICAL
    seed: int = 0

    def waiting(self, capacity: int) -> int:
        """How many questions wait for each other: a twentieth of the bank where all documents must be read for them."""
        if self.join_every is not None:
            return self.join_every
        return max(1, capacity // 20) if self.method == CHANCE else 1


class LivingBank:
    """A sample of the questions of one kind.

    Attributes:
        questions: the bank.
        modalities: what is known of each modality.
        reservoir: which questions of the stream are in the bank.
        pending: questions that have entered the bank and wait for others, by slot.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        sources: Mapping[Modality, Source],
        settings: Settings,
        failures: FailurePolicy,
    ) -> None:
        """Draw the sample; ``fit`` looks at the documents.

        Args:
            questions: at least one.
            sources: one source per modality.
            settings: how to work.
            failures: how to ask the sources.
        """
        self._settings = settings
        self.reservoir = Reservoir(
            settings.capacity or len(questions), half_life=settings.forgetting, seed=settings.seed
        )
        slots = self.reservoir.offer(len(questions))
        self.questions = tuple(self._banked(questions[slots[slot]]) for slot in range(self.reservoir.size))
        self.pending: dict[int, Question] = {}
        self._grouped: tuple[Sequence[Question], list[str | None]] = ((), [])
        self.modalities: dict[Modality, LivingModality] = {
            modality: self._made(modality, source, failures) for modality, source in sources.items()
        }

    def copy(self, sources: Mapping[Modality, Source], failures: FailurePolicy) -> LivingBank:
        """Give a bank of the same questions, with those that wait, whose ``fit`` begins anew."""
        made = LivingBank(self._with_pending(), sources, self._settings, failures)
        made.reservoir = Reservoir.from_state(self.reservoir.state())
        return made

    def fit(self) -> None:
        """Learn everything from the sources."""
        for living in self.modalities.values():
            living.fit()
            living.stale, living.scans, living.searched = False, 0, 0

    def check(self) -> None:
        """Warn of what was learned from too little."""
        best = {m: BestHits(tuple(living.hits.ids), living.hits.found) for m, living in self.modalities.items()}
        QuestionBank(self.questions, best, self._settings.method, backgrounds=self.backgrounds).statistics()

    @property
    def backgrounds(self) -> dict[Modality, Background]:
        """The similarities of all documents, by modality; empty but for the chance level."""
        found = {modality: living.background for modality, living in self.modalities.items()}
        return {modality: background for modality, background in found.items() if background is not None}

    @classmethod
    def restored(
        cls,
        state: Mapping[str, Any],
        questions: Sequence[Question],
        sources: Mapping[Modality, Source],
        settings: Settings,
        failures: FailurePolicy,
    ) -> LivingBank:
        """Make the bank whose ``state`` this is.

        Args:
            state: the state.
            questions: those of the bank, and those that wait.
            sources: one source for each modality of the state.
            settings: how it works.
            failures: how to ask the sources.
        """
        waiting = [int(slot) for slot in state["pending"]]
        banked = questions[: len(questions) - len(waiting)]
        made = cls(banked, sources, replace(settings, capacity=len(banked)), failures)
        made._settings = settings
        made.reservoir = Reservoir.from_state(state["reservoir"])
        made.pending = dict(zip(waiting, questions[len(banked) :], strict=True))
        for modality, living in made.modalities.items():
            living.restore(state["modalities"][modality])
        return made

    def state(self) -> dict[str, Any]:
        """Give all but the questions, as values that JSON can hold, arrays, and bytes."""
        return {
            "reservoir": self.reservoir.state(),
            "pending": sorted(self.pending),
            "modalities": {modality: living.state() for modality, living in self.modalities.items()},
        }

    def update(self, modality: Modality, work: Callable[[LivingModality], None]) -> None:
        """Change one modality; what earlier updates that failed left behind is learned anew, of all modalities."""
        living = self.modalities[modality]
        if living.stale:
            living.recover()
        living.stale = True
        work(living)
        living.stale = False
        for other in self.modalities.values():
            if other.stale:
                other.recover()
                other.stale = False
            elif other.hits.lost:
                other.settle()

    def offer(self, questions: Sequence[Question]) -> None:
        """Let some of the newest questions enter the bank; they are used when enough wait, or after ``flush``."""
        for slot, place in self.reservoir.offer(len(questions)).items():
            self.pending[slot] = self._banked(questions[place])
        if len(self.pending) >= self._settings.waiting(self.reservoir.capacity):
            self.flush()

    def flush(self) -> None:
        """Use the questions that wait."""
        if not self.pending:
            return
        slots, self.questions, self.pending = self.pending, self._with_pending(), {}
        # All are told of the questions first: should one fail, it and those after it are learned anew with these.
        for living in self.modalities.values():
            living.ask(self.questions, slots)
        for modality in self.modalities:
            self.update(modality, lambda living: living.settle())

    def scale(self, provenance: Mapping[Modality, Provenance]) -> Calibration | None:
        """Give the calibration as it is now; None if there are no documents at all."""
        entries, known = {}, {}
        for modality, living in self.modalities.items():
            found = living.hits.found
            if np.isnan(found).all():
                continue
            statistics = ModalityStatistics.fit(found[~np.isnan(found)])
            origin = provenance.get(modality, Provenance())
            entries[modality] = ModalityCalibration(statistics, origin, living.background, living.correction)
            known[modality] = PerQuestion(found, *(living.levels or (None, None)))
        if not entries:
            return None
        calibration = Calibration(entries, self._settings.method, len(self.questions))
        groups = self._groups()
        return stratified(calibration, groups, known) if groups else calibration

    def _groups(self) -> list[str | None]:
        """Give the stratum of each question; none if no question has one. Asked for at every update, so kept."""
        if self._grouped[0] is not self.questions:
            groups = [question.stratum for question in self.questions]
            self._grouped = self.questions, groups if any(key is not None for key in groups) else []
        return self._grouped[1]

    def _made(self, modality: Modality, source: Source, failures: FailurePolicy) -> LivingModality:
        method, asked = self._settings.method, self.questions
        identical = self._settings.identical if asked[0].kind == "image" else None
        if method not in CORRECTED:
            return PlainModality(modality, source, asked, failures, identical)
        keep, chance = self._settings.keep_vectors, method == CHANCE
        return CorrectedModality(
            modality, source, asked, failures, chance=chance, keep_vectors=keep, identical=identical
        )

    def _with_pending(self) -> tuple[Question, ...]:
        questions = list(self.questions)
        for slot in sorted(self.pending):
            questions[slot : slot + 1] = [self.pending[slot]]
        return tuple(questions)

    def _banked(self, question: Question) -> Question:
        return question if self._settings.keep_text else replace(question, text="")
