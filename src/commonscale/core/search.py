"""Searching all modalities at once and ranking the hits on the common scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from commonscale.core.asking import Found, asearch_all, search_all
from commonscale.core.calibrated_search import CalibratedSearch
from commonscale.core.calibration import Calibration
from commonscale.core.concurrency import ON_LOOP, off_loop
from commonscale.core.corrected import CorrectedSource
from commonscale.core.errors import (
    CalibrationMismatchError,
    InvalidInputError,
    NotCalibratedError,
)
from commonscale.core.keys import keyed
from commonscale.core.merging import rank_all
from commonscale.core.ranking import Quotas
from commonscale.core.types import Modality, Question, Ranking, Source
from commonscale.core.unbounded import refuse_mixed_raw


class JointSearch(CalibratedSearch):
    """Exact joint search over one source per modality.

    A scale is increasing within a modality, so the best k documents of all are among the best k of
    each modality: searching each source for k hits and merging them on the common scale gives the exact
    joint top k (for sources that are exact). Where the scale corrects the cosines, more hits are fetched until
    the k best are certain (see ``CorrectedSource``). Ties go to the modality named first, then to the source's own
    order. A document found in several modalities (a captioned picture) is ranked once: at its best score, or
    under quotas at the best that these leave room for.

    Safe to use from several threads: every search reads the calibration once, so one that is swapped in
    meanwhile serves the next search, and no ranking mixes two.
    """

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


def _alike(scales: Sequence[Calibration | None]) -> list[list[int]]:
    """Group the places of questions that can be searched in one batch: those whose scales correct cosines alike."""
    groups: dict[tuple[tuple[Modality, int], ...], list[int]] = {}
    for place, scale in enumerate(scales):
        entries = () if scale is None else scale.modalities.items()
        key = tuple((m, id(entry.correction)) for m, entry in entries if entry.correction is not None)
        groups.setdefault(key, []).append(place)
    return list(groups.values())
