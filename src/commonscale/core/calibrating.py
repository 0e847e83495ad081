"""From a bank of questions to a calibration: the choice of the method, and what to do where it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from commonscale.core.background import unsuited
from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.errors import InvalidInputError, MethodFallbackWarning, UnreadableVectorsError
from commonscale.core.failures import FailurePolicy
from commonscale.core.methods import AUTO, CHANCE, STANDARDIZED, check_choice
from commonscale.core.own_documents import check_identical
from commonscale.core.padding import padded
from commonscale.core.questions import QuestionBank
from commonscale.core.threads import off_thread
from commonscale.core.types import TEXT, Modality, Question, Source
from commonscale.core.warn import warn


@dataclass(frozen=True, slots=True)
class Fit:
    """How to learn a scale; see ``JointSearch.calibrate``.

    Attributes:
        sources: one source per modality.
        provenance: where each modality's cosines come from.
        failures: how long to wait for sources and how often to ask them.
        method: the method, or ``"auto"``.
        identical: for questions that are pictures, the cosine above which a document is the picture itself.
        at_least: questions that the chance level is learned from: passages stand in for those that are missing.
    """

    sources: Mapping[Modality, Source]
    provenance: Mapping[Modality, Provenance] = field(default_factory=dict)
    failures: FailurePolicy | None = None
    method: str = AUTO
    identical: float | None = None
    at_least: int | None = None

    def __post_init__(self) -> None:
        check_choice(self.method)
        check_identical(self.identical)
        count = self.at_least
        if count is not None and (isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1):
            raise InvalidInputError(f"at_least must be a number of questions of at least 1, or None, got {count!r}")

    def scale(self, questions: Sequence[Question]) -> Calibration:
        """Learn the scale of one kind of questions.

        Raises:
            InvalidInputError: if there is nothing to learn from.
            SourceError: if a source fails or breaks its contract.
        """
        first = CHANCE if self.method == AUTO else self.method
        try:
            bank = self._bank(self._asked(questions, first), first)
        except UnreadableVectorsError as error:
            self._fall_back(error)
            bank = self._bank(questions, STANDARDIZED)
        if self.method == AUTO and unsuited(bank.backgrounds):
            bank = self._bank(questions, STANDARDIZED)
        return self._made(bank, questions)

    async def ascale(self, questions: Sequence[Question]) -> Calibration:
        """As ``scale``, with the sources searched concurrently and off the event loop."""
        first = CHANCE if self.method == AUTO else self.method
        try:
            asked = await off_thread(self._asked, questions, first)
            bank = await self._abank(asked, first)
        except UnreadableVectorsError as error:
            self._fall_back(error)
            bank = await self._abank(questions, STANDARDIZED)
        if self.method == AUTO and unsuited(bank.backgrounds):
            bank = await self._abank(questions, STANDARDIZED)
        return self._made(bank, questions)

    def _bank(self, questions: Sequence[Question], method: str) -> QuestionBank:
        fit = partial(QuestionBank.fit, failures=self.failures, identical=self.identical)
        return fit(questions, self.sources, method=method)

    async def _abank(self, questions: Sequence[Question], method: str) -> QuestionBank:
        fit = partial(QuestionBank.afit, failures=self.failures, identical=self.identical)
        return await fit(questions, self.sources, method=method)

    def _asked(self, questions: Sequence[Question], method: str) -> list[Question]:
        """Fill the bank up, where that is wanted and can be done: passages stand in for questions in words."""
        count = self.at_least
        if count is None or method != CHANCE or len(questions) >= count or TEXT not in self.sources:
            return list(questions)
        if any(question.kind == "image" or question.vectors for question in questions):
            return list(questions)
        return padded(questions, self.sources[TEXT], TEXT, at_least=count)

    def _made(self, bank: QuestionBank, questions: Sequence[Question]) -> Calibration:
        return Calibration.from_bank(bank, self.provenance, questions=len(questions))

    def _fall_back(self, error: UnreadableVectorsError) -> None:
        wanted = CHANCE if self.method == AUTO else self.method
        warn(f"calibrated with {STANDARDIZED!r} instead of {wanted!r}: {error}", MethodFallbackWarning)
