"""A prior from example questions alone: no labels, no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality, Question
from commonscale.priors.asked import as_questions
from commonscale.priors.base import LIMIT
from commonscale.priors.linear import LinearPrior
from commonscale.priors.vectors import fingerprint_of, vectors_of

if TYPE_CHECKING:
    from commonscale.encoders.base import Encoder

PROMPTS: Mapping[Modality, tuple[str, ...]] = MappingProxyType(
    {
        TEXT: (
            "Who was the first author of the book?",
            "In which year did it happen?",
            "What does the term mean?",
            "When was the company founded?",
            "Who won the award?",
            "Where is the river located?",
        ),
        IMAGE: (
            "What color is it?",
            "What is shown in the picture?",
            "How many people can be seen in the photo?",
            "What is the person wearing?",
            "Which animal is on the logo?",
            "What is in the background of the image?",
        ),
    }
)
"""Example questions that want a passage, and that want a picture. As prompts they tell the two apart better than
descriptions do ("a question about a color"; docs/priors.md)."""

SPREAD = 1.0
"""Standard deviation of the evidence over unlabeled questions, in nats. That of calibrated evidence with AUC .75; those
that were measured separate better, so this is cautious."""


class ZeroShotPrior(LinearPrior):
    """Compares a question's embedding with those of example questions of each modality.

    Zero-shot classification (Radford et al. 2021, section 3.1.4) with the mean embedding of each modality's prompts.
    Similarities are no log-odds: over unlabeled questions they are centred, so that the typical question gets nothing,
    and scaled to a spread of 1 nat. ``calibrated`` finds the factor from labels, if there are some.

    Its facts: ``questions`` (unlabeled ones), ``prompts``, ``spread``.
    """

    kind = "zero-shot"

    @classmethod
    def fit(
        cls,
        questions: Sequence[Question | str],
        encoder: Encoder,
        prompts: Mapping[Modality, Sequence[str]] = PROMPTS,
        *,
        own_vectors: bool = True,
        spread: float = SPREAD,
        strength: float | None = None,
        limit: float = LIMIT,
    ) -> ZeroShotPrior:
        """Embed the prompts and place them among unlabeled questions.

        Args:
            questions: unlabeled questions as users ask them, at least two different ones, none of them a picture;
                strings are embedded.
            encoder: embeds the prompts.
            prompts: example questions by modality.
            own_vectors: whether the questions' own vectors are those of this encoder, and are to be taken; False
                embeds the questions' texts with it, now and later.
            spread: standard deviation of the evidence over the questions, in nats.
            strength: units of score for each nat; see ``scaled_to``.
            limit: most nats between two modalities.

        Returns:
            The prior.

        Raises:
            InvalidInputError: if there are fewer than two modalities or questions, a modality has no prompt, or the
                prompts do not differ.
        """
        if len(prompts) < 2 or any(isinstance(asked, str) or not asked for asked in prompts.values()):
            raise InvalidInputError(
                f"prompts must give a list of questions for each of two or more modalities: {prompts!r}"
            )
        if not (np.isfinite(spread) and spread > 0):
            raise InvalidInputError(f"spread must be a finite number above 0 (in nats), got {spread!r}")
        if len(questions) < 2:
            raise InvalidInputError(
                f"zero-shot evidence is scaled over unlabeled questions; give at least 2, got {len(questions)}"
            )
        made_by = fingerprint_of(encoder, None)
        asked = as_questions(questions, encoder, embedded=own_vectors)
        vectors = vectors_of(asked, None if own_vectors else encoder)
        weights = np.stack(
            [encoder.encode_questions(list(asked)).astype(np.float64).mean(axis=0) for asked in prompts.values()]
        )
        if weights.shape[1] != vectors.shape[1]:
            raise InvalidInputError(
                f"the questions' vectors have dimension {vectors.shape[1]}, the encoder's {weights.shape[1]}; give "
                f"the encoder that embeds the questions, or own_vectors=False"
            )
        weights -= weights.mean(axis=0)
        evidence = vectors @ weights.T
        # Differences between modalities are what counts: the spread is that of the mean pair.
        found = float(np.sqrt(2 * evidence.var(axis=0, ddof=0).sum() / (len(weights) - 1)))
        if found <= np.finfo(np.float32).eps:
            raise InvalidInputError(
                "the prompts or the questions do not differ, so nothing can be told from them; give other prompts, "
                "or more questions"
            )
        factor = spread / found
        return cls(
            tuple(prompts),
            factor * weights,
            -factor * evidence.mean(axis=0),
            strength=strength,
            limit=limit,
            encoder=None if own_vectors else encoder,
            fingerprint=made_by,
            facts={
                "questions": float(len(questions)),
                "prompts": float(sum(map(len, prompts.values()))),
                "spread": spread,
            },
        )
