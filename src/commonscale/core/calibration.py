"""The fitted common scale (Eq. 2), and its file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import CalibrationMismatchError, InvalidInputError, NotCalibratedError
from commonscale.core.files import write_text_atomically
from commonscale.core.questions import QuestionBank, warn_if_unstable
from commonscale.core.statistics import ModalityStatistics, as_cosines
from commonscale.core.types import Floats, Modality

STANDARDIZED = "standardized"
LABELED = "labeled"


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
    """One modality's place on the common scale: its statistics and where they come from."""

    statistics: ModalityStatistics
    provenance: Provenance = field(default_factory=Provenance)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


@dataclass(frozen=True)
class Calibration:
    """A common scale for the cosines of several modalities.

    ``score(q, d) = (cos(q, d) - mean_m) / std_m`` with m the modality of d (Yamashita et al. 2025, Eq. 2).
    The statistics are fixed: a score depends neither on k nor on the other hits, and within a modality the
    order stays that of the cosines. A ``std`` of 0 divides by 1 (see ``ModalityStatistics.scale``).

    Attributes:
        modalities: statistics and provenance by modality; any labels, at least one.
        method: ``"standardized"`` (unlabeled questions, Eq. 3-4) or ``"labeled"`` (pairs, Eq. 1).
        questions: how many questions it was fitted on.
        created: when, in UTC.
    """

    modalities: Mapping[Modality, ModalityCalibration]
    method: str = STANDARDIZED
    questions: int = 0
    created: datetime = field(default_factory=_now)

    def __post_init__(self) -> None:
        if not self.modalities:
            raise InvalidInputError("a calibration needs the statistics of at least one modality, got none")
        if self.questions < 0:
            raise InvalidInputError(f"the number of questions must be at least 0, got {self.questions}")

    @classmethod
    def from_bank(cls, bank: QuestionBank, provenance: Mapping[Modality, Provenance] | None = None) -> Calibration:
        """Fit on the pseudo-positive samples of unlabeled questions (Eq. 3-4).

        Args:
            bank: the questions with their best hits.
            provenance: where each modality's cosines come from.

        Returns:
            The calibration; modalities without documents are absent from it.

        Raises:
            InvalidInputError: if no question found a document in any modality.
        """
        statistics = bank.statistics()
        if not statistics:
            raise InvalidInputError(
                f"none of {len(bank)} questions found a document in any of {sorted(bank.best)}; "
                f"index documents first, then calibrate"
            )
        return cls(_with_provenance(statistics, provenance), STANDARDIZED, len(bank))

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

    def standardize(self, cosines: npt.ArrayLike, modality: Modality) -> Floats:
        """Put cosines on the common scale: ``(cos - mean) / std`` (Eq. 2).

        Args:
            cosines: shape (n,), finite.
            modality: their modality.

        Returns:
            Scores (n,), in standard deviations above the modality's mean best cosine.

        Raises:
            NotCalibratedError: if the calibration does not cover the modality.
            InvalidInputError: if a cosine is not finite.
        """
        return self.standardize_checked(as_cosines(cosines, what=f"modality {modality!r}"), modality)

    def standardize_checked(self, cosines: Floats, modality: Modality) -> Floats:
        """As ``standardize``, for float64 arrays already known to be finite."""
        statistics = self.statistics(modality)
        return (cosines - statistics.mean) / statistics.scale

    def probability(self, cosines: npt.ArrayLike, modality: Modality) -> Floats:
        """Map cosines to [0, 1] with the normal CDF of their standardized score.

        Reads as the share of (pseudo-)positive pairs of this modality with a lower cosine, if those were
        normally distributed: 0.5 is an average best hit. Use it for cut-offs that must lie in [0, 1].

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
        known = self.modalities.get(modality)
        conflicts = known.provenance.conflicts(provenance) if known else []
        if conflicts:
            raise CalibrationMismatchError(
                f"modality {modality!r} was calibrated with {'; '.join(conflicts)} as now in use; "
                f"calibrate again with the encoder and store in use, or load the calibration made for them"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``calibration.json``, whole or not at all.

        Args:
            path: the file.
        """
        from commonscale.core.calibration_file import dumps

        write_text_atomically(path, dumps(self))

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
        from commonscale.core.calibration_file import loads

        return loads(Path(path).read_bytes(), os.fspath(path))


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
