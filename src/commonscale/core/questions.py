"""The bank of unlabeled questions and their pseudo-positive samples (Eq. 3-4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from commonscale.core.asking import asearch_all, search_all
from commonscale.core.background import Background
from commonscale.core.correction import Correction
from commonscale.core.errors import DegenerateStatisticsWarning, FewQuestionsWarning, InvalidInputError
from commonscale.core.failures import FailurePolicy
from commonscale.core.fitting import Fitted, fit_modality
from commonscale.core.methods import CENTERED_STANDARDIZED, CHANCE, CORRECTED, STANDARDIZED, check_method
from commonscale.core.own_documents import others
from commonscale.core.statistics import STABLE_COUNT, ModalityStatistics
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Floats, Modality, Question, Source
from commonscale.core.warn import warn


@dataclass(frozen=True, slots=True, eq=False)
class BestHits:
    """Each banked question's pseudo-positive in one modality.

    Attributes:
        ids: the best hit's document id per question, None where the source found nothing.
        cosines: its cosine (C,), or its similarity for methods that correct the cosine; NaN where the source found
            nothing.
        means: mean of each question's similarities with all documents (C,), for ``"chance"``.
        stds: their standard deviation (C,).
    """

    ids: tuple[str | None, ...]
    cosines: Floats
    means: Floats | None = None
    stds: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class QuestionBank:
    """Unlabeled questions with, for every modality, the best hit's id and cosine.

    The pseudo-positive of question q in modality m is its nearest document in m (Yamashita et al. 2025,
    Eq. 3); the cosines of these pairs stand in for those of labeled pairs (Eq. 4).

    Methods that need more of the documents than the best hit (see ``CORRECTED``) read the vectors of the stores.

    Attributes:
        questions: the questions, embedded; their wording may be empty.
        best: the best hits by modality.
        method: what it was fitted for.
        corrections: from cosines to similarities, by modality; empty where the cosines are used as they are.
        backgrounds: of the similarities of all documents, by modality; empty but for ``"chance"``.
    """

    questions: tuple[Question, ...]
    best: Mapping[Modality, BestHits]
    method: str = STANDARDIZED
    corrections: Mapping[Modality, Correction] = field(default_factory=dict)
    backgrounds: Mapping[Modality, Background] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        questions: Sequence[Question],
        sources: Mapping[Modality, Source],
        *,
        method: str = STANDARDIZED,
        failures: FailurePolicy | None = None,
        identical: float | None = None,
    ) -> QuestionBank:
        """Find the best hit of every question in every modality, in one batch per modality.

        Args:
            questions: at least one. Repeated ones are kept: a question asked often counts often.
            sources: one source per modality.
            method: what the bank is for: ``"standardized"``, ``"chance"``, ``"centered"`` or
                ``"centered+standardized"``; all but the first read the vectors of every document.
            failures: how long to wait for sources and how often to ask them. Whatever it says, none is skipped: what
                is learned from some of the stores would be silently wrong.
            identical: documents of a higher cosine are taken for the question itself, a picture of the store that is
                asked with, and left out of what is learned; None for none.

        Returns:
            The bank.

        Raises:
            InvalidInputError: if there is no question or no source, or no such method.
            UnreadableVectorsError: if the method needs vectors that a store does not give.
            SourceError: if a source fails or breaks its contract.
        """
        _check(questions, sources)
        if check_method(method) in CORRECTED:
            return cls._read(questions, sources, method, identical)
        return cls._of(questions, search_all(others(sources, identical), questions, 1, _strict(failures)).answers)

    @classmethod
    async def afit(
        cls,
        questions: Sequence[Question],
        sources: Mapping[Modality, Source],
        *,
        method: str = STANDARDIZED,
        failures: FailurePolicy | None = None,
        identical: float | None = None,
    ) -> QuestionBank:
        """As ``fit``, with the sources searched concurrently and off the event loop."""
        _check(questions, sources)
        if check_method(method) in CORRECTED:
            return await off_thread(cls._read, questions, sources, method, identical)
        return cls._of(
            questions, (await asearch_all(others(sources, identical), questions, 1, _strict(failures))).answers
        )

    @classmethod
    def _of(cls, questions: Sequence[Question], answers: Mapping[Modality, Sequence[Candidates]]) -> QuestionBank:
        best: dict[Modality, BestHits] = {}
        for modality, found in answers.items():
            ids = tuple(candidates.ids[0] if len(candidates.ids) else None for candidates in found)
            cosines = [candidates.cosines[0] if len(candidates.ids) else np.nan for candidates in found]
            best[modality] = BestHits(ids, np.array(cosines, dtype=np.float64))
        return cls(tuple(questions), best)

    @classmethod
    def _read(
        cls, questions: Sequence[Question], sources: Mapping[Modality, Source], method: str, identical: float | None
    ) -> QuestionBank:
        hubs = method == CHANCE
        fitted = {m: fit_modality(questions, s, m, hubs=hubs, identical=identical) for m, s in sources.items()}
        return cls.from_fitted(questions, fitted, method)

    @classmethod
    def from_fitted(cls, questions: Sequence[Question], fitted: Mapping[Modality, Fitted], method: str) -> QuestionBank:
        """Make a bank of what was learned of each modality (see ``fit_modality``)."""
        return cls(
            tuple(questions),
            {m: BestHits(one.best_ids, one.best, one.means, one.stds) for m, one in fitted.items()},
            method,
            {modality: one.correction for modality, one in fitted.items() if one.correction is not None},
            {modality: one.background for modality, one in fitted.items() if one.background is not None},
        )

    def __len__(self) -> int:
        return len(self.questions)

    def statistics(self) -> dict[Modality, ModalityStatistics]:
        """Compute each modality's statistics from its best hits (Eq. 3-4).

        Questions that found nothing in a modality are left out of it; a modality in which no question found
        anything is absent from the result, with a ``DegenerateStatisticsWarning``; so are warned of those whose
        documents do not differ, for ``"chance"``. Fewer than 30 different questions give a ``FewQuestionsWarning``
        that states the standard error.

        Returns:
            Statistics by modality, in the order of the sources.
        """
        result: dict[Modality, ModalityStatistics] = {}
        distinct = self._count_distinct()
        for modality, hits in self.best.items():
            cosines = hits.cosines[~np.isnan(hits.cosines)]
            if cosines.size == 0:
                warn(
                    f"modality {modality!r} returned no document for any of {len(self)} questions, so it has no "
                    f"statistics; add its documents and calibrate again before searching it",
                    DegenerateStatisticsWarning,
                )
                continue
            result[modality] = statistics = ModalityStatistics.fit(cosines)
            self._warn(modality, statistics, min(distinct, statistics.count))
        return result

    def _warn(self, modality: Modality, statistics: ModalityStatistics, distinct: int) -> None:
        if self.method in (STANDARDIZED, CENTERED_STANDARDIZED):
            warn_if_unstable(modality, statistics, distinct=distinct)
        elif distinct < STABLE_COUNT:
            warn(
                f"what was learned of modality {modality!r} rests on {distinct} different question"
                f"{'s' * (distinct != 1)}; give at least {STABLE_COUNT}, better 100",
                FewQuestionsWarning,
            )
        background = self.backgrounds.get(modality)
        if background is not None and background.flat:
            warn(
                f"modality {modality!r} has {background.documents} different document"
                f"{'s' * (background.documents != 1)} and similarities without spread (std {background.std:.1e}), so "
                f"it has no chance level and would come first for most questions; calibrate with "
                f"method={STANDARDIZED!r}, or add different documents and calibrate again",
                DegenerateStatisticsWarning,
            )

    def _count_distinct(self) -> int:
        """Count different questions, by their vectors where they have one, else by their wording."""
        keys = set()
        for question in self.questions:
            vectors = {"": question.vector, **question.vectors}
            bytes_by_modality = [(m, v.tobytes()) for m, v in vectors.items() if v is not None]
            keys.add(tuple(bytes_by_modality) or question.text)
        return len(keys)


def _check(questions: Sequence[Question], sources: Mapping[Modality, Source]) -> None:
    if not questions:
        raise InvalidInputError("calibration needs unlabeled questions, got none")
    if not sources:
        raise InvalidInputError("calibration needs at least one source, got none")


def _strict(failures: FailurePolicy | None) -> FailurePolicy:
    return replace(failures or FailurePolicy(), on_failure="raise")


def warn_if_unstable(modality: Modality, statistics: ModalityStatistics, *, distinct: int) -> None:
    """Warn when statistics rest on too few questions or have no spread.

    Args:
        modality: whose statistics.
        statistics: the statistics.
        distinct: how many different questions they come from.
    """
    if distinct < STABLE_COUNT:
        error = statistics.standard_error
        known = (
            f"standard error {error:.4f}, which moves its scores by {error / statistics.scale:.2f} standard deviations"
            if distinct > 1
            else "its error cannot be told from one"
        )
        warn(
            f"the statistics of modality {modality!r} rest on {distinct} different question{'s' * (distinct != 1)} "
            f"(mean cosine {statistics.mean:.4f}, {known}); give at least {STABLE_COUNT}, better 100",
            FewQuestionsWarning,
        )
    if statistics.scale != statistics.std:
        warn(
            f"the best cosines of modality {modality!r} do not vary (std {statistics.std:.1e} over "
            f"{statistics.count} questions): its scores are cosine minus mean, not divided; "
            f"give more, and different, questions",
            DegenerateStatisticsWarning,
        )
