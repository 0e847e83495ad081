"""Priors whose evidence is linear in a question's embedding: all that can be saved without a function."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats, Modality, Question
from commonscale.priors.base import LIMIT, Prior
from commonscale.priors.document import head, write
from commonscale.priors.vectors import check_fingerprint, features_of, fingerprint_of
from commonscale.priors.words import PLACES

if TYPE_CHECKING:
    from commonscale.encoders.base import Encoder


class LinearPrior(Prior):
    """Evidence ``weights @ features + intercept``; the features are the unit embedding, and the words if wanted.

    ``LabeledPrior``, ``SelfTaughtPrior`` and ``ZeroShotPrior`` differ in how they find the numbers.

    Attributes:
        weights: shape (modalities, features).
        intercept: shape (modalities,).
        encoder: embeds the questions' texts; None takes the vectors they are searched with.
        encoder_fingerprint: whose embeddings it takes, if known.
        words: whether it sees the questions' words beside the embeddings.
        facts: what was measured when it was made; see the classes.
    """

    kind: ClassVar[str] = "linear"

    def __init__(
        self,
        modalities: Sequence[Modality],
        weights: Floats,
        intercept: Floats,
        *,
        strength: float | None = None,
        limit: float = LIMIT,
        encoder: Encoder | None = None,
        fingerprint: str | None = None,
        words: bool = False,
        facts: Mapping[str, float] | None = None,
    ) -> None:
        """Set up the prior from its numbers.

        Args:
            modalities: the labels that it tells apart.
            weights: shape (modalities, d), finite.
            intercept: shape (modalities,), finite.
            strength: units of score for each nat; see ``scaled_to``.
            limit: most nats between two modalities.
            encoder: embeds the questions' texts; by default the vectors they are searched with are taken.
            fingerprint: whose embeddings those are, if no encoder is given.
            words: whether the weights are of embeddings followed by ``word_vectors``, each divided by sqrt(2).
            facts: measurements to keep with it.

        Raises:
            InvalidInputError: if shapes do not fit or a number is not finite.
        """
        super().__init__(modalities, strength=strength, limit=limit)
        self.weights = np.array(weights, dtype=np.float64)
        self.intercept = np.array(intercept, dtype=np.float64)
        count = len(self.modalities)
        if self.weights.ndim != 2 or len(self.weights) != count or self.intercept.shape != (count,):
            raise InvalidInputError(
                f"{count} modalities need weights of shape ({count}, d) and an intercept of shape ({count},), "
                f"got {self.weights.shape} and {self.intercept.shape}"
            )
        if not (np.isfinite(self.weights).all() and np.isfinite(self.intercept).all()):
            raise InvalidInputError("the weights and intercept of a prior must be finite")
        self.encoder = encoder
        self.encoder_fingerprint = fingerprint_of(encoder, fingerprint)
        self.words = words
        self.facts = dict(facts or {})

    @property
    def dimension(self) -> int:
        """Length of the embeddings that it takes."""
        return int(self.weights.shape[1]) - self.words * PLACES

    @property
    def flat(self) -> bool:
        """Whether it tells nothing, whatever the question."""
        return not self.weights.any() and bool((self.intercept == self.intercept[0]).all())

    def evidence(self, questions: Sequence[Question]) -> Floats:
        """Embed the questions, if they are not yet, and apply the weights."""
        if not questions or self.flat:
            return np.zeros((len(questions), len(self.modalities)))
        vectors = features_of(questions, self.encoder, words=self.words)
        dimension = vectors.shape[1] - self.words * PLACES
        if dimension != self.dimension:
            raise InvalidInputError(
                f"this prior takes question embeddings of dimension {self.dimension}, got {dimension}; "
                f"give the encoder that it was made with (encoder=...), or make it again"
            )
        return np.asarray(vectors @ self.weights.T + self.intercept)

    def check(self, fingerprint: str | None) -> None:
        """Refuse questions embedded by another encoder; a prior with an encoder of its own takes any.

        Args:
            fingerprint: of the encoder of the questions' vectors; None if not known.

        Raises:
            EncoderMismatchError: if it is known to be another.
        """
        if self.encoder is None:
            check_fingerprint(self.encoder_fingerprint, fingerprint)

    def _check_fit(self, known: Collection[Modality], fingerprint: str | None) -> None:
        super()._check_fit(known, fingerprint)
        self.check(fingerprint)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all; ``load_prior`` reads it. The encoder is named, not kept."""
        write(
            path,
            {
                **head(self),
                "encoder_fingerprint": self.encoder_fingerprint,
                "own_encoder": self.encoder is not None,
                "words": self.words,
                "weights": self.weights.tolist(),
                "intercept": self.intercept.tolist(),
                "facts": self.facts,
            },
        )
