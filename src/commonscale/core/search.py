"""Searching all modalities at once and ranking the hits on the common scale."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from commonscale.core.asking import Found, asearch_all, search_all
from commonscale.core.calibrating import Fit
from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.concurrency import ON_LOOP, off_loop
from commonscale.core.corrected import CorrectedSource
from commonscale.core.errors import (
    CalibrationMismatchError,
    InvalidInputError,
    NotCalibratedError,
)
from commonscale.core.failures import FailurePolicy, check_policy
from commonscale.core.keys import Stratum, keyed
from commonscale.core.merging import rank_all
from commonscale.core.methods import DEFAULT
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.prior_checks import check_prior, warn_of_other_scale
from commonscale.core.ranking import Quotas
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Modality, Prior, Question, Ranking, Source
from commonscale.core.unbounded import refuse_mixed_raw
from commonscale.core.verification import FirstUse, Verification, dimension_of, verifiable, verify

Observer: TypeAlias = Callable[[Sequence[Question], Mapping[Modality, Sequence[Candidates]]], object]


class JointSearch:
    """Exact joint search over one source per modality.

    A scale is increasing within a modality, so the best k documents of all are among the best k of
    each modality: searching each source for k hits and merging them on the common scale gives the exact
    joint top k (for sources that are exact). Where the scale corrects the cosines, more hits are fetched until
    the k best are certain (see ``CorrectedSource``). Ties go to the modality named first, then to the source's own
    order. A document found in several modalities (a captioned picture) is ranked once: at its best score, or
    under quotas at the best that these leave room for.

    Safe to use from several threads: every search reads the calibration once, so one that is swapped in
    meanwhile serves the next search, and no ranking mixes two.

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

    def only(self, *modalities: Modality) -> JointSearch:
        """Give a search of some modalities, with the calibration and the failure policy that are in use now.

        It shares what is remembered of checks, so no source is checked again.
        """
        some = JointSearch(
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

    def search(
        self,
        question: Question,
        k: int,
        *,
        minimum: Mapping[Modality, int] | None = None,
        maximum: Mapping[Modality, int] | None = None,
        raw: bool = False,
    ) -> Ranking:
        """Rank the documents of all modalities for one question.

        Args:
            question: the question, embedded.
            k: how many hits, at least 1.
            minimum: at least this many hits of a modality, if it has them.
            maximum: at most this many hits of a modality.
            raw: rank by raw cosine instead, for comparison; not possible where one source has scores of another kind.

        Returns:
            The best hits, best first: ``k``, or all documents if there are fewer.

        Raises:
            NotCalibratedError: if a modality with hits has no statistics.
            CalibrationMismatchError: if the question's vector has another dimension than calibrated.
            InvalidInputError: if ``k`` or a quota cannot be used.
            SourceError: if a source fails or breaks its contract; if ``failures`` says to skip it, only if every one
                does, and the ranking says in ``missing`` what it is without.
        """
        return self.search_batch([question], k, minimum=minimum, maximum=maximum, raw=raw)[0]

    def search_batch(
        self,
        questions: Sequence[Question],
        k: int,
        *,
        minimum: Mapping[Modality, int] | None = None,
        maximum: Mapping[Modality, int] | None = None,
        raw: bool = False,
    ) -> list[Ranking]:
        """Rank the documents of all modalities for many questions, one batch per source.

        Sources that allow it (see ``Source``) are searched side by side.

        Arguments and errors are those of ``search``; no questions give no rankings.
        """
        quotas, scales = self._prepare(questions, k, minimum, maximum, raw)
        rankings: dict[int, Ranking] = {}
        for places in _alike(scales):
            some = [questions[place] for place in places]
            found = search_all(self._sources_for(scales[places[0]]), some, k, self.failures)
            rankings.update(zip(places, self._ranked(some, found, k, quotas, [scales[p] for p in places]), strict=True))
        return [rankings[place] for place in range(len(questions))]

    async def asearch(
        self,
        question: Question,
        k: int,
        *,
        minimum: Mapping[Modality, int] | None = None,
        maximum: Mapping[Modality, int] | None = None,
        raw: bool = False,
    ) -> Ranking:
        """As ``search``, with the sources searched concurrently and off the event loop."""
        rankings = await self.asearch_batch([question], k, minimum=minimum, maximum=maximum, raw=raw)
        return rankings[0]

    async def asearch_batch(
        self,
        questions: Sequence[Question],
        k: int,
        *,
        minimum: Mapping[Modality, int] | None = None,
        maximum: Mapping[Modality, int] | None = None,
        raw: bool = False,
    ) -> list[Ranking]:
        """As ``search_batch``, with the sources searched concurrently and off the event loop."""
        quotas, scales = self._prepare(questions, k, minimum, maximum, raw)
        rankings: dict[int, Ranking] = {}
        for places in _alike(scales):
            some = [questions[place] for place in places]
            found = await asearch_all(self._sources_for(scales[places[0]]), some, k, self.failures)
            chosen = [scales[place] for place in places]
            # A prior may be a model of its own, and an observer may test, which must not hold up the event loop.
            work = len(some) if self.prior is None and self.observer is None else ON_LOOP + 1
            rankings.update(
                zip(places, await off_loop(work, self._ranked, some, found, k, quotas, chosen), strict=True)
            )
        return [rankings[place] for place in range(len(questions))]

    def _ranked(
        self,
        questions: Sequence[Question],
        found: Found,
        k: int,
        quotas: Quotas,
        scales: Sequence[Calibration | None],
    ) -> list[Ranking]:
        standardized = self.prior is not None and scales[0] is not None
        offsets = self.prior.offsets(questions) if self.prior is not None and standardized else None
        rankings = rank_all(found.answers, k, quotas, scales, found.missing, offsets)
        if self.observer is not None and scales[0] is not None:
            self.observer(questions, found.answers)
        return rankings

    def _sources_for(self, scale: Calibration | None) -> dict[Modality, Source]:
        """Give the sources to ask: those of modalities whose cosines the scale corrects do so."""
        sources = self._guarded()
        if scale is None or not scale.corrected:
            return sources
        corrections = {m: entry.correction for m, entry in scale.modalities.items() if entry.correction is not None}
        return {m: CorrectedSource(s, corrections[m], m) if m in corrections else s for m, s in sources.items()}

    def _guarded(self) -> dict[Modality, Source]:
        """Give the sources to ask: those not checked yet are before they are searched."""
        return self._first_use.guarded(self.sources)

    def _prepare(
        self,
        questions: Sequence[Question],
        k: int,
        minimum: Mapping[Modality, int] | None,
        maximum: Mapping[Modality, int] | None,
        raw: bool,
    ) -> tuple[Quotas, list[Calibration | None]]:
        """Check the arguments and read the calibration once, for the whole search."""
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InvalidInputError(f"k must be an integer of at least 1, got {k!r}")
        quotas = Quotas(minimum or {}, maximum or {})
        quotas.check(k, self.sources)
        if raw:
            refuse_mixed_raw(self.sources)
        scale = None if raw else self._calibration
        if scale is None and not raw:
            raise NotCalibratedError(
                "there is no calibration yet: call calibrate(questions) with unlabeled questions, load one with "
                "Calibration.load(path), or search with raw=True to rank by raw cosine"
            )
        if scale is None:
            return quotas, [None] * len(questions)
        scales = [scale.for_question(question) for question in keyed(questions, self.stratum)]
        for question, chosen in zip(questions, scales, strict=True):
            _check_dimensions(question, chosen, self.sources)
        return quotas, list(scales)


def _check_dimensions(question: Question, calibration: Calibration, searched: Iterable[Modality]) -> None:
    for modality in searched:
        entry = calibration.modalities.get(modality)
        dimension = entry.provenance.dimension if entry else None
        vector = question.vectors.get(modality, question.vector)
        if dimension is not None and vector is not None and vector.shape != (dimension,):
            raise CalibrationMismatchError(
                f"question {question.text!r} has a vector of shape {vector.shape} for modality {modality!r}, which was "
                f"calibrated with dimension {dimension}; embed it with the encoder of the calibration"
            )


def _by_kind(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Part questions in words from those that are pictures."""
    if not questions:
        raise InvalidInputError("calibration needs unlabeled questions, got none")
    return [q for q in questions if q.kind != "image"], [q for q in questions if q.kind == "image"]


def _alike(scales: Sequence[Calibration | None]) -> list[list[int]]:
    """Group the places of questions that can be searched in one batch: those whose scales correct cosines alike."""
    groups: dict[tuple[tuple[Modality, int], ...], list[int]] = {}
    for place, scale in enumerate(scales):
        entries = () if scale is None else scale.modalities.items()
        key = tuple((m, id(entry.correction)) for m, entry in entries if entry.correction is not None)
        groups.setdefault(key, []).append(place)
    return list(groups.values())
