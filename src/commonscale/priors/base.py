"""What every prior is: log-odds of modalities from a question alone, turned into offsets of scores."""

from __future__ import annotations

import asyncio
import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, TypeVar

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError, NotCalibratedError, PriorWarning
from commonscale.core.prior_checks import common_fingerprint
from commonscale.core.types import Floats, Modality, Question
from commonscale.core.warn import warn
from commonscale.priors.checks import check_questions, check_scale_given, check_strength
from commonscale.priors.odds import centered, log_softmax, slope_of
from commonscale.priors.strength import strength_of

P = TypeVar("P", bound="Prior")

LIMIT = 6.0
"""Most nats between two modalities, by default: odds of 400 to 1. Real questions are not surer (docs/priors.md)."""


class Prior(ABC):
    """Knows from a question alone which modality it probably wants.

    A prior gives *evidence*: the log-likelihood of the question under each modality, up to a constant, which is the
    log-odds without those of the base rate. A question that tells nothing has equal evidence everywhere. The offset
    of modality m is ``strength * (evidence_m - mean evidence)``: it sums to 0 over the modalities, so that a question
    that tells nothing is ranked exactly as without a prior.

    Adding it to a score is Bayes' rule: if the log-odds that a hit is relevant grow linearly with its score, by
    ``1 / strength`` for each unit, the log-odds of its modality count ``strength`` units for each nat.

    Objects never change: ``scaled`` and its like give a copy.

    Attributes:
        modalities: the labels that it tells apart, at least two.
        strength: units of score for each nat of evidence; None until it is fitted to a scale.
        limit: most nats between two modalities; what is surer is cut there.
        slope: what the evidence is multiplied with, 1 unless ``calibrated`` found another.
        method: that of the calibration that it was scaled to; None if it is not known.
    """

    kind: ClassVar[str]
    """The name of the class in files."""

    def __init__(self, modalities: Sequence[Modality], *, strength: float | None = None, limit: float = LIMIT) -> None:
        """Set up what all priors share.

        Args:
            modalities: different labels, at least two.
            strength: units of score for each nat, at least 0; see ``scaled_to``.
            limit: most nats between two modalities, above 0.

        Raises:
            InvalidInputError: if one of them cannot be used.
        """
        if isinstance(modalities, str) or len(set(modalities)) < 2 or len(set(modalities)) < len(modalities):
            raise InvalidInputError(
                f"a prior tells at least two different modalities apart, got {modalities!r}; "
                f"give their labels, for example ('text', 'image')"
            )
        if strength is not None:
            check_strength(strength)
        if not (math.isfinite(limit) and limit > 0):
            raise InvalidInputError(f"limit must be a finite number above 0 (in nats), got {limit!r}")
        self.modalities: tuple[Modality, ...] = tuple(modalities)
        self.strength = strength
        self.limit = float(limit)
        self.slope = 1.0
        self.method: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.modalities)}, strength={self.strength}, limit={self.limit})"

    @abstractmethod
    def evidence(self, questions: Sequence[Question]) -> Floats:
        """Give the log-likelihood of each question under each modality, up to a constant of the question.

        Args:
            questions: any number, none of them a picture.

        Returns:
            Shape (n, modalities), in nats; minus infinity means impossible, a row of equal numbers no knowledge.
        """

    async def aevidence(self, questions: Sequence[Question]) -> Floats:
        """As ``evidence``, off the event loop."""
        return await asyncio.to_thread(self.evidence, questions)

    def offsets(self, questions: Sequence[Question]) -> dict[Modality, Floats]:
        """Give what to add to the scores of each modality.

        Args:
            questions: any number. Those that are pictures have no wording and get 0.

        Returns:
            By modality, one number per question (n,), in units of the score; over the modalities they sum to 0.

        Raises:
            NotCalibratedError: if the prior was not fitted to a scale.
            InvalidInputError: if a question lacks what the prior needs, or the evidence cannot be used.
        """
        strength = self._known_strength()
        places, worded = _worded(questions)
        found = self.evidence(worded) if worded else np.zeros((0, len(self.modalities)))
        return self._spread(strength * self._checked(found, worded), places, len(questions))

    async def aoffsets(self, questions: Sequence[Question]) -> dict[Modality, Floats]:
        """As ``offsets``, off the event loop."""
        strength = self._known_strength()
        places, worded = _worded(questions)
        found = await self.aevidence(worded) if worded else np.zeros((0, len(self.modalities)))
        return self._spread(strength * self._checked(found, worded), places, len(questions))

    def probabilities(self, questions: Sequence[Question], rates: Mapping[Modality, float] | None = None) -> Floats:
        """Give how probable each modality is for each question, by Bayes' rule.

        Args:
            questions: any number, none of them a picture.
            rates: how often each modality is wanted, above 0; by default equally often.

        Returns:
            Shape (n, modalities); rows sum to 1.

        Raises:
            InvalidInputError: if a rate is missing or not above 0.
        """
        given = dict.fromkeys(self.modalities, 1.0) if rates is None else rates
        values = np.array([given.get(modality, np.nan) for modality in self.modalities], dtype=np.float64)
        if not (np.isfinite(values) & (values > 0)).all():
            raise InvalidInputError(f"rates must be numbers above 0 for each of {self.modalities}, got {rates!r}")
        check_questions(questions)
        found = self._checked(self.evidence(questions), questions)
        return np.exp(log_softmax(found + np.log(values)))

    def scaled(self: P, strength: float) -> P:
        """Give a copy with another strength, in units of score for each nat."""
        check_strength(strength)
        made = copy.copy(self)
        made.strength = strength
        made.method = None
        return made

    def scaled_to(self: P, best: Mapping[Modality, Floats] | Calibration) -> P:
        """Give a copy whose strength suits a scale, learnt without labels (see ``strength_of``).

        Args:
            best: the calibration in use; or the best score of each banked question in each modality (see
                ``best_scores``).

        Raises:
            InvalidInputError: if it is neither, it lacks a modality of this prior, or there are fewer than two
                modalities or two questions.
            EncoderMismatchError: if the calibration is known to be of another encoder than this prior.
        """
        check_scale_given(best)
        if not isinstance(best, Calibration):
            self._check_fit(best, None)
            return self.scaled(strength_of(best))
        entries = best.modalities
        self._check_fit(entries, common_fingerprint(entry.provenance for entry in entries.values()))
        made = self.scaled(strength_of(best))
        made.method = best.method
        return made

    def check_use(self, modalities: Collection[Modality], fingerprint: str | None = None) -> None:
        """Refuse a search that it does not fit. Searches and retrievers call it when the prior is assigned.

        Args:
            modalities: those that are searched or calibrated.
            fingerprint: of the encoder of all questions' vectors; None if not known.

        Raises:
            NotCalibratedError: if the prior was not fitted to a scale.
            InvalidInputError: if the prior tells modalities apart that are none of them.
            EncoderMismatchError: if it is known to take the embeddings of another encoder.
        """
        self._known_strength()
        self._check_fit(modalities, fingerprint)

    def check_scale(self, calibration: Calibration) -> None:
        """Compare a calibration with the one that the prior was scaled to.

        Where that is not known (``scaled``, best scores), nothing is said.

        Args:
            calibration: that in use.

        Warns:
            PriorWarning: if the method is another, or a nat is worth less than half of the prior's strength on this
                scale, or more than twice as much.
        """
        if self.method is None or self.strength is None or len(calibration.modalities) < 2:
            return
        needed = strength_of(calibration)
        if self.method != calibration.method or not needed <= 2 * self.strength <= 4 * needed:
            warn(
                f"this {type(self).__name__} was scaled to a calibration by method {self.method!r} (strength "
                f"{self.strength:.2g}), and that in use is by method {calibration.method!r} (strength {needed:.2g}); "
                f"assign prior.scaled_to(calibration) with the calibration in use, such as retriever.calibration",
                PriorWarning,
            )

    def calibrated(self: P, questions: Sequence[Question], labels: Sequence[Modality]) -> P:
        """Give a copy whose evidence is as sure as labeled questions bear out: one factor, from 0 (see ``slope_of``).

        Args:
            questions: labeled questions that it was not made from, none of them a picture.
            labels: the modality that each wants.

        Raises:
            InvalidInputError: if there are none, lengths differ, or a label is not known.
        """
        check_questions(questions)
        codes = codes_of(labels, self.modalities)
        if not len(codes) or len(codes) != len(questions):
            raise InvalidInputError(
                f"{len(questions)} questions come with {len(codes)} labels; give at least one, and a label for each"
            )
        made = copy.copy(self)
        made.slope = self.slope * slope_of(self._checked(self.evidence(questions), questions), codes)
        return made

    def _known_strength(self) -> float:
        if self.strength is None:
            raise NotCalibratedError(
                f"this {type(self).__name__} was not fitted to a scale, so it does not know what log-odds are worth in "
                f"scores; call prior.scaled_to(calibration) with the calibration in use, that is "
                f"prior.scaled_to(retriever.calibration), or prior.scaled(strength)"
            )
        return self.strength

    def _check_fit(self, known: Collection[Modality], fingerprint: str | None) -> None:  # noqa: ARG002 (for others)
        if not set(self.modalities) <= set(known):
            raise InvalidInputError(
                f"this {type(self).__name__} tells modalities {list(self.modalities)} apart, but those in use are "
                f"{sorted(known)}; make it with the same labels (modalities=..., or the labels of its questions)"
            )

    def _checked(self, found: Floats, questions: Sequence[Question]) -> Floats:
        """Refuse evidence of a wrong shape or with NaN; cut it at the limit and centre it."""
        found = np.asarray(found, dtype=np.float64)
        needed = (len(questions), len(self.modalities))
        if found.shape != needed:
            raise InvalidInputError(f"evidence of {type(self).__name__} must have shape {needed}, got {found.shape}")
        bad = np.isnan(found).any(axis=1) | (found == np.inf).any(axis=1)
        if bad.any():
            first = int(np.argmax(bad))
            raise InvalidInputError(
                f"evidence of {type(self).__name__} is {found[first].tolist()} for question "
                f"{questions[first].text!r}; it must be finite, or -inf for a modality that is impossible"
            )
        return centered(found * self.slope if self.slope else np.zeros(needed), self.limit)

    def _spread(self, found: Floats, places: list[int], count: int) -> dict[Modality, Floats]:
        full = np.zeros((count, len(self.modalities)))
        full[places] = found
        return {modality: full[:, column].copy() for column, modality in enumerate(self.modalities)}


def codes_of(labels: Sequence[Modality], modalities: Sequence[Modality]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Turn labels into their places among the modalities.

    Raises:
        InvalidInputError: if a label is none of them.
    """
    places = {modality: place for place, modality in enumerate(modalities)}
    if unknown := sorted({repr(label) for label in labels if label not in places}):
        raise InvalidInputError(
            f"labels name {', '.join(unknown)}, which are none of the modalities {list(modalities)}"
        )
    return np.array([places[label] for label in labels], dtype=np.int64)


def _worded(questions: Sequence[Question]) -> tuple[list[int], list[Question]]:
    check_questions(questions)
    places = [place for place, question in enumerate(questions) if getattr(question, "kind", "text") != "image"]
    return places, [questions[place] for place in places]
