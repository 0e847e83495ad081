"""The fitted common scale (Eq. 2), and its file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from commonscale.core.background import Background
from commonscale.core.centering import Centering
from commonscale.core.correction import Correction
from commonscale.core.errors import CalibrationMismatchError, InvalidInputError, NotCalibratedError
from commonscale.core.methods import CENTERED, LABELED, STANDARDIZED
from commonscale.core.questions import QuestionBank, warn_if_unstable
from commonscale.core.statistics import ModalityStatistics, as_cosines
from commonscale.core.types import Floats, Modality, Question


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a modality's cosines come from; None where it is not known.

    Attributes:
        encoder_fingerprint: the encoder's fingerprint.
        dimension: length of its vectors.
        score_kind: what the store returned before it was turned into a cosine (see ``SCORE_KINDS``).
    """

    encoder_fingerprint: str | None = None
    dimension: int | None = None
    score_kind: str | None = None

    def conflicts(self, other: Provenance) -> list[str]:
        """Name each fact that both know and that differs, as ``"dimension 512, not 768"``."""
        facts = (
            ("encoder", self.encoder_fingerprint, other.encoder_fingerprint),
            ("dimension", self.dimension, other.dimension),
            ("score kind", self.score_kind, other.score_kind),
        )
        return [
            f"{name} {mine!r}, not {theirs!r}"
            for name, mine, theirs in facts
            if mine is not None and theirs is not None and mine != theirs
        ]


@dataclass(frozen=True, slots=True)
class ModalityCalibration:
    """One modality's place on the common scale.

    Attributes:
        statistics: of the similarities of best hits, or of labeled pairs.
        provenance: where its cosines come from.
        background: of the similarities of all documents, for chance-level calibration.
        correction: how similarities come from cosines; None if they are the cosines.
    """

    statistics: ModalityStatistics
    provenance: Provenance = field(default_factory=Provenance)
    background: Background | None = None
    correction: Correction | None = field(default=None, compare=False)

    @property
    def location(self) -> float:
        """What is subtracted from similarities: the chance level if there is a background, else the mean."""
        return self.statistics.mean if self.background is None else self.background.level

    @property
    def scale(self) -> float:
        """What they are then divided by."""
        return self.statistics.scale if self.background is None else self.background.scale


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


@dataclass(frozen=True)
class Calibration:
    """A common scale for the similarities of several modalities: an affine map of each.

    ``score(q, d) = (a(q, d) - location_m) / scale_m`` with m the modality of d. The numbers are fixed, so a score
    depends neither on k nor on the other hits.

    - ``"standardized"`` and ``"labeled"``: a is the cosine, location and scale are mean and standard deviation of the
      best hits of unlabeled questions, or of labeled pairs (Yamashita et al. 2025, Eq. 1-4). Within a modality the
      order stays that of the cosines. A ``std`` of 0 divides by 1 (see ``ModalityStatistics.scale``).
    - ``"centered"``: a is the centred cosine (see ``Centering``), as it is: location 0 and scale 1.
    - ``"centered+standardized"``: both, one after the other.
    - ``"chance"``: a is the centred cosine, corrected for hubs (see ``Correction``); location and scale come from the
      similarities of all documents (see ``Background``).

    Attributes:
        modalities: statistics and provenance by modality; any labels, at least one.
        method: one of the above.
        questions: how many questions it was fitted on.
        created: when, in UTC.
        strata: scales of some of the questions, by ``Question.stratum``; all others have this one.
        image_questions: the scale of questions that are pictures.
    """

    modalities: Mapping[Modality, ModalityCalibration]
    method: str = STANDARDIZED
    questions: int = 0
    created: datetime = field(default_factory=_now)
    strata: Mapping[str, Calibration] = field(default_factory=dict)
    image_questions: Calibration | None = None

    def __post_init__(self) -> None:
        if not self.modalities and self.image_questions is None:
            raise InvalidInputError("a calibration needs the statistics of at least one modality, got none")
        if self.questions < 0:
            raise InvalidInputError(f"the number of questions must be at least 0, got {self.questions}")

    def __repr__(self) -> str:
        """Name what tells calibrations apart, not the numbers of every document."""
        pictures = None if self.image_questions is None else self.image_questions.questions
        return (
            f"Calibration(method={self.method!r}, questions={self.questions}, created={self.created.isoformat()!r}, "
            f"modalities={list(self.modalities)}, strata={len(self.strata)}, image_questions={pictures})"
        )

    def __str__(self) -> str:
        """Say what it holds: numbers by modality, strata, questions that are pictures (a dozen lines at most)."""
        from commonscale.core.summary import summary

        return summary(self)

    @classmethod
    def from_bank(
        cls,
        bank: QuestionBank,
        provenance: Mapping[Modality, Provenance] | None = None,
        *,
        questions: int | None = None,
    ) -> Calibration:
        """Fit on unlabeled questions: their pseudo-positive samples (Eq. 3-4), or the chance level.

        Args:
            bank: the questions with what was learned of them, for the method that it was fitted for.
            provenance: where each modality's cosines come from.
            questions: how many users' questions it holds; None for all of it.

        Returns:
            The calibration; modalities without documents are absent from it. If questions have a ``stratum``, it has
            a scale for each, shrunken to that of all the more, the fewer they are (see ``commonscale.core.strata``).

        Raises:
            InvalidInputError: if no question found a document in any modality.
        """
        statistics = bank.statistics()
        if not statistics:
            raise InvalidInputError(
                f"none of {len(bank)} questions found a document in any of {sorted(bank.best)}; "
                f"index documents first, then calibrate"
            )
        entries = {
            modality: replace(
                entry, background=bank.backgrounds.get(modality), correction=bank.corrections.get(modality)
            )
            for modality, entry in _with_provenance(statistics, provenance).items()
        }
        calibration = cls(entries, bank.method, len(bank) if questions is None else questions)
        groups = [question.stratum for question in bank.questions]
        if not any(group is not None for group in groups):
            return calibration
        from commonscale.core.strata import PerQuestion, stratified

        return stratified(
            calibration, groups, {m: PerQuestion(one.cosines, one.means, one.stds) for m, one in bank.best.items()}
        )

    @classmethod
    def from_labeled_pairs(
        cls,
        cosines: npt.ArrayLike,
        modalities: list[Modality] | npt.NDArray[np.str_],
        provenance: Mapping[Modality, Provenance] | None = None,
    ) -> Calibration:
        """Fit on the cosines of questions and their relevant documents (Eq. 1; ``Std`` in the paper).

        Args:
            cosines: shape (n,), one per labeled pair.
            modalities: the modality of each pair's document, length n.
            provenance: where each modality's cosines come from.

        Returns:
            The calibration, with ``questions`` the number of pairs.

        Raises:
            InvalidInputError: if lengths differ, there are no pairs, or a cosine is not finite.
        """
        values = as_cosines(cosines, what="labeled pairs")
        labels = np.asarray(modalities, dtype=np.str_)
        if labels.shape != values.shape:
            raise InvalidInputError(f"{values.size} cosines come with {labels.size} modalities; give one for each pair")
        statistics: dict[Modality, ModalityStatistics] = {}
        for modality in dict.fromkeys(labels.tolist()):
            statistics[modality] = fitted = ModalityStatistics.fit(values[labels == modality])
            warn_if_unstable(modality, fitted, distinct=fitted.count)
        return cls(_with_provenance(statistics, provenance), LABELED, int(values.size))

    def statistics(self, modality: Modality) -> ModalityStatistics:
        """Give a modality's statistics.

        Raises:
            NotCalibratedError: if the calibration does not cover it.
        """
        try:
            return self.modalities[modality].statistics
        except KeyError:
            raise NotCalibratedError(
                f"modality {modality!r} has no statistics: this calibration covers {sorted(self.modalities)}; "
                f"calibrate again now that there are {modality!r} documents"
            ) from None

    @property
    def corrected(self) -> bool:
        """Whether similarities are other than the cosines, so that the documents must be known."""
        return any(entry.correction is not None for entry in self.modalities.values())

    def corrects(self, modality: Modality) -> bool:
        """Tell whether the similarities of a modality are other than its cosines."""
        return modality in self.modalities and self.modalities[modality].correction is not None

    @property
    def centering(self) -> Centering | None:
        """The means that are subtracted; None if cosines are used as they are."""
        known = {m: entry.correction for m, entry in self.modalities.items() if entry.correction is not None}
        if not known:
            return None
        return Centering({m: c.question_mean for m, c in known.items()}, {m: c.document_mean for m, c in known.items()})

    def for_question(self, question: Question) -> Calibration:
        """Give the scale that a question has: that of its stratum, or of all of its kind (words, pictures).

        Raises:
            NotCalibratedError: if the question is a picture, and no pictures have been calibrated with.
        """
        if question.kind == "image":
            if self.image_questions is None:
                raise NotCalibratedError(
                    "this calibration has no statistics of questions that are pictures, whose cosines are on another "
                    "scale than those of texts; calibrate with pictures as users ask with them (calibrate_images of "
                    "the retrievers, questions of kind 'image' here), or rank with raw=True"
                )
            return self.image_questions._of_stratum(question.stratum)
        return self._of_stratum(question.stratum)

    def _of_stratum(self, key: str | None) -> Calibration:
        """Give the scale of a stratum; this one if the key is None or not known."""
        return self if key is None else self.strata.get(key, self)

    def standardize(self, cosines: npt.ArrayLike, modality: Modality) -> Floats:
        """Put similarities on the common scale: ``(a - location) / scale`` (Eq. 2).

        Args:
            cosines: shape (n,), finite: cosines, or where the modality has a correction, similarities.
            modality: their modality.

        Returns:
            Scores (n,): with ``"standardized"``, in standard deviations above the modality's mean best cosine.

        Raises:
            NotCalibratedError: if the calibration does not cover the modality.
            InvalidInputError: if a cosine is not finite.
        """
        return self.standardize_checked(as_cosines(cosines, what=f"modality {modality!r}"), modality)

    def standardize_checked(self, cosines: Floats, modality: Modality) -> Floats:
        """As ``standardize``, for float64 arrays already known to be finite."""
        self.statistics(modality)
        if self.method == CENTERED:
            return cosines
        entry = self.modalities[modality]
        return (cosines - entry.location) / entry.scale

    def probability(self, cosines: npt.ArrayLike, modality: Modality) -> Floats:
        """Map similarities to [0, 1] with the normal CDF of their score.

        With ``"standardized"`` it reads as the share of (pseudo-)positive pairs of this modality with a lower cosine,
        if those were normally distributed: 0.5 is an average best hit; with ``"chance"``, 0.5 is the chance level.
        Use it for cut-offs that must lie in [0, 1].

        Args:
            cosines: shape (n,), finite.
            modality: their modality.

        Returns:
            Probabilities (n,), increasing in the cosine.

        Raises:
            NotCalibratedError: if the calibration does not cover the modality.
            InvalidInputError: if a cosine is not finite.
        """
        return normal_cdf(self.standardize(cosines, modality))

    def check(self, modality: Modality, provenance: Provenance) -> None:
        """Refuse to be used with cosines from another encoder, dimension or score kind.

        Args:
            modality: the modality that will be searched; one that is not covered passes (searching it will
                raise ``NotCalibratedError`` as soon as it has documents).
            provenance: where its cosines will come from; facts that either side does not know pass.

        Raises:
            CalibrationMismatchError: naming both sides of each difference.
        """
        scales = (self, *self.strata.values(), *([self.image_questions] if self.image_questions else []))
        known = [scale.modalities[modality] for scale in scales if modality in scale.modalities]
        conflicts = list(dict.fromkeys(words for entry in known for words in entry.provenance.conflicts(provenance)))
        if conflicts:
            raise CalibrationMismatchError(
                f"modality {modality!r} was calibrated with {'; '.join(conflicts)} as now in use; "
                f"calibrate again with the encoder and store in use, or load the calibration made for them"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``calibration.json``, whole or not at all.

        A calibration that corrects similarities has three numbers for every document. They go into a second file
        beside the first, ``calibration-<hash>.npz``, which the first one names.

        Args:
            path: the file.
        """
        from commonscale.core.calibration_folder import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a file that ``save`` wrote.

        Args:
            path: the file.

        Returns:
            A calibration equal to the saved one.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if it is damaged, is no calibration, or was written by a newer version.
        """
        from commonscale.core.calibration_folder import load

        return load(Path(path))


def normal_cdf(scores: npt.ArrayLike) -> Floats:
    """Give the standard normal distribution function of each score, exact to double precision.

    Args:
        scores: any shape.

    Returns:
        Values in [0, 1], same shape, float64.
    """
    values = np.asarray(scores, dtype=np.float64)
    # erfc keeps its precision in the lower tail, where 1 + erf would cancel.
    flat = [0.5 * math.erfc(-score / math.sqrt(2.0)) for score in values.ravel().tolist()]
    return np.array(flat, dtype=np.float64).reshape(values.shape)


def _with_provenance(
    statistics: Mapping[Modality, ModalityStatistics], provenance: Mapping[Modality, Provenance] | None
) -> dict[Modality, ModalityCalibration]:
    known = provenance or {}
    return {m: ModalityCalibration(s, known.get(m, Provenance())) for m, s in statistics.items()}
