"""What a joint search is set up with: sources, the common scale and how it is learned, a prior, checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from commonscale.core.calibrating import Fit
from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.errors import (
    InvalidInputError,
)
from commonscale.core.failures import FailurePolicy, check_policy
from commonscale.core.keys import Stratum, keyed
from commonscale.core.methods import DEFAULT
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.prior_checks import check_prior, warn_of_other_scale
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Modality, Prior, Question, Source
from commonscale.core.verification import FirstUse, Verification, dimension_of, verifiable, verify

Observer: TypeAlias = Callable[[Sequence[Question], Mapping[Modality, Sequence[Candidates]]], object]

S = TypeVar("S", bound="CalibratedSearch")


class CalibratedSearch:
    """Sources and their common scale; ``JointSearch`` searches them.

    Attributes:
        sources: one source per modality; the order breaks ties.
        provenance: where each modality's cosines come from, as far as it is known.
        failures: what to do about sources that fail.
        stratum: which stratum questions belong to that do not say so themselves.
        observer: called after every search on the common scale with the questions and what was found for them, by
            modality and before merging (see ``DriftMonitor``); None for nobody.
    """

    def __init__(
        self,
        sources: Mapping[Modality, Source],
        calibration: Calibration | None = None,
        *,
        provenance: Mapping[Modality, Provenance] | None = None,
        failures: FailurePolicy | None = None,
        check: bool | FirstUse = True,
        prior: Prior | None = None,
        stratum: Stratum = None,
    ) -> None:
        """Set up the search.

        Args:
            sources: one source per modality, at least one.
            calibration: the common scale; without it only ``raw=True`` searches work until ``calibrate``.
            provenance: encoder, dimension and score kind by modality; a calibration that disagrees is refused.
            failures: how long to wait for sources, how often to ask them, and whether to go on without one that
                fails; by default failures raise, and sources in another process are asked up to three times.
            check: whether each source that can be verified is, quickly, before it is first searched (see
                ``StoreCheckError``); or what remembers the checks of other searches over the same sources.
            prior: added to the scores of a modality, question by question (see ``commonscale.priors``).
            stratum: a key, or a function that gives one, for questions without a ``Question.stratum``: which of the
                calibration's strata they belong to.

        Raises:
            InvalidInputError: if there is no source, ``failures`` is no policy, or the prior is none or of other
                modalities.
            CalibrationMismatchError: if the calibration belongs to another encoder, dimension or score kind.
            NotCalibratedError: if the prior was not fitted to a scale.
            EncoderMismatchError: if the prior takes the embeddings of another encoder.
        """
        if not isinstance(sources, Mapping):
            raise InvalidInputError(f"sources must be a mapping from modality to source, got {type(sources).__name__}")
        if not sources:
            raise InvalidInputError("a joint search needs at least one source, got none")
        self.sources = dict(sources)
        self.provenance = dict(provenance or {})
        self.failures = check_policy(failures)
        self._first_use = check if isinstance(check, FirstUse) else FirstUse(enabled=check)
        self.stratum = stratum
        self.observer: Observer | None = None
        self._calibration = self._checked(calibration)
        self._prior: Prior | None = None
        self._take(prior)

    @property
    def calibration(self) -> Calibration | None:
        """The common scale in use; assigning another one takes effect with the next search."""
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        self._calibration = self._checked(calibration)
        warn_of_other_scale(self._prior, calibration)

    def _checked(self, calibration: Calibration | None) -> Calibration | None:
        if calibration is not None:
            for modality in self.sources:
                calibration.check(modality, self.provenance.get(modality, Provenance()))
        return calibration

    @property
    def prior(self) -> Prior | None:
        """What is known of the modality that a question wants, from its wording; None for nothing.

        One that does not fit is refused when it is assigned, and one that was scaled to another calibration than that
        in use gets a ``PriorWarning``, then or when another calibration is assigned.
        """
        return self._prior

    @prior.setter
    def prior(self, prior: Prior | None) -> None:
        self._take(prior)
        warn_of_other_scale(prior, self._calibration)

    def _take(self, prior: Prior | None) -> None:
        calibrated = () if self._calibration is None else self._calibration.modalities
        check_prior(prior, {*self.sources, *calibrated}, self.provenance)
        self._prior = prior

    def only(self: S, *modalities: Modality) -> S:
        """Give a search of some modalities, with the calibration and the failure policy that are in use now.

        It shares what is remembered of checks, so no source is checked again.
        """
        some = type(self)(
            {modality: self.sources[modality] for modality in modalities},
            self._calibration,
            provenance={m: known for m, known in self.provenance.items() if m in modalities},
            failures=self.failures,
            check=self._first_use,
            stratum=self.stratum,
        )
        # It is that of all modalities, and was checked with them.
        some._prior = self._prior
        return some

    def calibrate(
        self,
        questions: Sequence[Question],
        *,
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
        at_least: int | None = None,
    ) -> Calibration:
        """Fit the common scale on unlabeled questions and use it from now on.

        Questions that are pictures get a scale of their own; if all are, the scale of questions in words stays.

        Args:
            questions: questions as users ask them, embedded; no labels. At least one, better 100 or more.
            method: ``"chance"``, ``"centered+standardized"``, ``"standardized"`` (Yamashita et al. 2025, Eq. 2-4),
                ``"centered"`` (GR-CLIP), or ``"auto"``: the first, unless the similarities of a modality's documents
                spread too widely for it or not at all, as those of a single document (see ``Background.wide`` and
                ``Background.flat``), then ``"standardized"``. All but ``"standardized"`` read the
                vectors of every document; if a store does not give them, that one is used instead, with a
                ``MethodFallbackWarning``.
            identical: for questions that are pictures: a document of a higher cosine is taken for the picture itself,
                which is in the store, and left out of what is learned; None for none.
            at_least: for ``"chance"`` with few questions: random passages stand in for as many questions as are
                missing (see ``commonscale.core.padding``); None for none.

        Returns:
            The calibration; its ``method`` tells which was used.

        Raises:
            InvalidInputError: if there are no questions or no documents, or no such method.
            SourceError: if a source fails or breaks its contract, whatever ``failures`` says; the calibration in
                use then stays.
        """
        words, pictures = _by_kind(keyed(questions, self.stratum))
        scales = [
            fit.scale(asked) if asked else None
            for asked, fit in zip((words, pictures), self._fits(method, identical, at_least), strict=True)
        ]
        self.calibration = calibration = self._joined(*scales)
        return calibration

    async def acalibrate(
        self,
        questions: Sequence[Question],
        *,
        method: str = DEFAULT,
        identical: float | None = IDENTICAL,
        at_least: int | None = None,
    ) -> Calibration:
        """As ``calibrate``, with the sources searched concurrently and off the event loop."""
        words, pictures = _by_kind(keyed(questions, self.stratum))
        scales = [
            await fit.ascale(asked) if asked else None
            for asked, fit in zip((words, pictures), self._fits(method, identical, at_least), strict=True)
        ]
        self.calibration = calibration = self._joined(*scales)
        return calibration

    def _fits(self, method: str, identical: float | None, at_least: int | None) -> tuple[Fit, Fit]:
        """Give how the scales of questions in words and of pictures are learned."""
        words = Fit(self._guarded(), self.provenance, self.failures, method, at_least=at_least)
        return words, replace(words, identical=identical)

    def _joined(self, words: Calibration | None, pictures: Calibration | None) -> Calibration:
        """Give the new scales of questions in words and of pictures in one calibration; the old one of a kind stays."""
        current = self._calibration
        if pictures is None:
            pictures = current.image_questions if current else None
        if words is None:
            words = current
        if words is None and pictures is not None:
            words = replace(pictures, modalities={}, strata={}, image_questions=pictures)
        if words is None:
            raise InvalidInputError("calibration needs unlabeled questions, got none")
        return words if words.image_questions is pictures else replace(words, image_questions=pictures)

    def verify(self, questions: Sequence[Question] | None = None) -> Verification:
        """Compare what the sources return with numpy's cosines, thoroughly (32 questions of 20 hits for each).

        Each is asked with random unit vectors and with vectors of the documents that these find.

        Args:
            questions: tell the dimension of each modality's vectors, where nothing else does (see ``dimensions``).

        Returns:
            A report by modality, and in words as a string; notes as well as errors.
        """
        asked = list(questions or ())[:1]
        told = {m: len(question.vector_for(m)) for question in asked for m in verifiable(self.sources)}
        return verify(self.sources, self.dimensions() | told)

    def dimensions(self) -> dict[Modality, int | None]:
        """Give the length of each verifiable source's vectors, None where neither it nor the calibration tells."""
        scale = {} if self._calibration is None else self._calibration.modalities
        found = {}
        for modality, source in verifiable(self.sources).items():
            calibrated = scale[modality].provenance.dimension if modality in scale else None
            told = self.provenance.get(modality, Provenance()).dimension
            found[modality] = dimension_of(source) or told or calibrated
        return found

    async def averify(self, questions: Sequence[Question] | None = None) -> Verification:
        """As ``verify``, off the event loop."""
        return await off_thread(self.verify, questions)

    def _guarded(self) -> dict[Modality, Source]:
        """Give the sources to ask: those not checked yet are before they are searched."""
        return self._first_use.guarded(self.sources)


def _by_kind(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Part questions in words from those that are pictures."""
    if not questions:
        raise InvalidInputError("calibration needs unlabeled questions, got none")
    return [q for q in questions if q.kind != "image"], [q for q in questions if q.kind == "image"]
