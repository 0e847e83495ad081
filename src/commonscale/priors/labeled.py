"""A prior from a handful of labeled questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from commonscale.core.errors import FewQuestionsWarning, InvalidInputError
from commonscale.core.types import Modality, Question
from commonscale.core.warn import warn
from commonscale.priors.asked import as_questions
from commonscale.priors.base import LIMIT, codes_of
from commonscale.priors.fitting import fit_regression
from commonscale.priors.linear import LinearPrior
from commonscale.priors.vectors import all_worded, features_of, fingerprint_of

if TYPE_CHECKING:
    from commonscale.encoders.base import Encoder

FEWEST = 20
"""Labels below which a warning is given; what so few are worth is measured in docs/priors.md."""


class LabeledPrior(LinearPrior):
    """Logistic regression on the embeddings and words of labeled questions.

    Its facts: ``labels``, ``regularization`` (the inverse regularization C), ``slope`` (of the calibration, already
    in the weights), and from cross-validation, where there are labels enough, ``gain`` (log-loss saved against the
    base rate, in nats for each question out of fold), ``gain_error`` (its standard error) and ``gain_share`` (of the
    base rate's log-loss).
    """

    kind = "labeled"

    @classmethod
    def fit(
        cls,
        questions: Sequence[Question | str],
        labels: Sequence[Modality],
        *,
        modalities: Sequence[Modality] | None = None,
        encoder: Encoder | None = None,
        fingerprint: str | None = None,
        words: bool | None = None,
        strength: float | None = None,
        limit: float = LIMIT,
    ) -> LabeledPrior:
        """Fit it.

        Regularization and calibration come from cross-validation if each label has at least three different
        questions. The base rate of the labels is taken off, so that they need not come in the shares that users ask.

        Args:
            questions: labeled questions, none of them a picture (``retriever.embed_questions(texts)``); their texts
                will do where there is an ``encoder``. 50 are useful, 500 nearly as good as it gets.
            labels: the modality that each wants.
            modalities: the labels in order; by default those that occur, in the order of their first.
            encoder: embeds the questions' texts; by default the vectors they are searched with are taken.
            fingerprint: whose embeddings those are, to be kept with the prior, if no encoder is given.
            words: whether their words are seen beside the embeddings; by default if every question has a text.
            strength: units of score for each nat; see ``scaled_to``.
            limit: most nats between two modalities.

        Returns:
            The prior.

        Raises:
            InvalidInputError: if labels do not fit the questions, or name fewer than two modalities.
            MissingExtraError: if scikit-learn is not installed.
        """
        asked = as_questions(questions, encoder)
        known = tuple(dict.fromkeys(labels)) if modalities is None else tuple(modalities)
        codes = codes_of(labels, known)
        if len(codes) != len(asked):
            raise InvalidInputError(f"{len(asked)} questions come with {len(codes)} labels; give one for each")
        if len(np.unique(codes)) < 2:
            raise InvalidInputError(
                f"labels must name at least two modalities, got {sorted(set(labels))} for {len(asked)} questions; "
                f"label questions of each kind"
            )
        if len(codes) < FEWEST:
            warn(
                f"a prior from {len(codes)} labeled questions is a guess; label at least {FEWEST}", FewQuestionsWarning
            )
        made_by = fingerprint_of(encoder, fingerprint)
        seen = all_worded(asked) if words is None else words
        fit = fit_regression(features_of(asked, encoder, words=seen), codes, len(known))
        return cls(
            known,
            fit.weights,
            fit.intercept,
            strength=strength,
            limit=limit,
            encoder=encoder,
            fingerprint=made_by,
            words=seen,
            facts={"labels": float(len(codes))} | fit.facts(),
        )
