"""A prior that learns without labels, from the modality that wins each banked question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from commonscale.core.errors import FewQuestionsWarning, InvalidInputError
from commonscale.core.types import Floats, Modality, Question
from commonscale.core.warn import warn
from commonscale.priors.asked import as_questions
from commonscale.priors.base import LIMIT
from commonscale.priors.checks import check_best_scores
from commonscale.priors.fitting import Fit, fit_regression, groups_of
from commonscale.priors.linear import LinearPrior
from commonscale.priors.odds import centered
from commonscale.priors.strength import strength_of
from commonscale.priors.vectors import all_worded, features_of, fingerprint_of

if TYPE_CHECKING:
    from commonscale.encoders.base import Encoder

FEWEST = 100
"""Different questions below which nothing is learnt."""

SURENESS = 3.0
"""Standard errors that the gain must exceed 0 by. With two, the questions of the demonstration, whose wording says
nothing, passed by a little (gain .025, standard error .012), and following it cost texts a tenth of MRR@20."""

LEAST_GAIN = 0.02
"""Least share of the base rate's log-loss that wording must save.

Questions whose wording says nothing still have regions where one modality wins more often, since the winner is a
function of the same embedding: on the photo encoders, where both kinds are captions, that saves about 1%, and
following it only costs. Real wording of two kinds saves several times as much (docs/priors.md).
"""

ROUNDS = 2
"""How often it learns again from the winners that it has corrected; more gain little (docs/priors.md)."""

GRID = (0.3, 1.0, 3.0, 10.0)
"""Inverse regularizations tried: stricter than with labels, since a third of the winners are wrong."""


class SelfTaughtPrior(LinearPrior):
    """Logistic regression on question embeddings and words, fitted to the modality that wins each banked question.

    The scores are seldom sure of the modality, but where one kind of wording wins more often in one modality, all
    questions worded like that can learn from it. Close decisions count little in the regression (each question by
    its margin), regularization and calibration are those of held-out questions, and the prior is flat, with no
    effect at all, unless wording predicts held-out winners clearly.

    Then it learns twice more, from winners that its own held-out evidence has corrected (self-training): many of the
    first winners are wrong, so what is fitted to them is less sure than it should be.

    Its facts: ``questions``, ``regularization``, ``slope``, ``gain`` (log-loss of the winner saved against the base
    rate, in nats for each question out of fold), ``gain_error``, ``gain_share`` (of the base rate's log-loss);
    all three of the first winners.
    """

    kind = "self-taught"

    @classmethod
    def fit(
        cls,
        questions: Sequence[Question | str],
        best: Mapping[Modality, Floats],
        *,
        encoder: Encoder | None = None,
        fingerprint: str | None = None,
        words: bool | None = None,
        limit: float = LIMIT,
    ) -> SelfTaughtPrior:
        """Fit it, with the strength that suits the scores.

        Args:
            questions: unlabeled questions, none of them a picture (``retriever.embed_questions(texts)``); their texts
                will do where there is an ``encoder``. At least 100 different ones, better 500.
            best: the best score of each in each modality, without a prior (see ``best_scores``); NaN where nothing
                was found.
            encoder: embeds the questions' texts; by default the vectors they are searched with are taken.
            fingerprint: whose embeddings those are, to be kept with the prior, if no encoder is given.
            words: whether their words are seen beside the embeddings; by default if every question has a text.
            limit: most nats between two modalities.

        Returns:
            The prior, flat if wording carries no signal.

        Raises:
            InvalidInputError: if the scores do not fit the questions, or there are fewer than two modalities.
            MissingExtraError: if scikit-learn is not installed.

        Warns:
            FewQuestionsWarning: if there are too few different questions to learn from; the prior is then flat.
        """
        asked = as_questions(questions, encoder)
        check_best_scores(best)
        modalities = tuple(best)
        strength = strength_of(best)
        scores = np.column_stack([np.asarray(best[modality], dtype=np.float64) for modality in modalities])
        if len(scores) != len(asked):
            raise InvalidInputError(f"{len(asked)} questions come with {len(scores)} best scores; give one for each")
        made_by = fingerprint_of(encoder, fingerprint)
        contested = np.flatnonzero(np.isfinite(scores).sum(axis=1) > 1)
        seen = all_worded(asked) if words is None else words
        vectors = features_of([asked[int(place)] for place in contested], encoder, words=seen)
        weights, intercept, facts = _learn(vectors, scores[contested], strength, limit)
        return cls(
            modalities,
            weights,
            intercept,
            strength=strength,
            limit=limit,
            encoder=encoder,
            fingerprint=made_by,
            words=seen,
            facts=facts,
        )


def _learn(vectors: Floats, scores: Floats, strength: float, limit: float) -> tuple[Floats, Floats, dict[str, float]]:
    """Give weights, intercept and facts; weights of 0 where wording does not predict the winner clearly."""
    modalities = scores.shape[1]
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    winners = scores.argmax(axis=1).astype(np.int64)
    flat = np.zeros((modalities, vectors.shape[1])), np.zeros(modalities)
    facts = {"questions": float(len(winners))}
    different = int(groups_of(vectors).max()) + 1
    if different < FEWEST:
        warn(
            f"{different} different questions are too few to learn from their winners which wording wants which "
            f"modality, so this prior is flat; give at least {FEWEST}, better 500",
            FewQuestionsWarning,
        )
        return *flat, facts
    if len(np.unique(winners)) < 2:
        return *flat, facts
    fit = _fitted(vectors, scores)
    facts |= fit.facts()
    if not _convinces(fit):
        return *flat, facts
    for _ in range(ROUNDS):
        if fit.held_out is not None:
            fit = _fitted(vectors, scores + strength * centered(fit.held_out, limit))
    return fit.weights, fit.intercept, facts | {"regularization": fit.regularization, "slope": fit.slope}


def _fitted(vectors: Floats, scores: Floats) -> Fit:
    """Fit the regression to the winners, each question by its margin."""
    ordered = np.sort(scores, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    spread = float(margins.mean())
    winners = scores.argmax(axis=1).astype(np.int64)
    return fit_regression(vectors, winners, scores.shape[1], margins / spread if spread > 0 else None, GRID)


def _convinces(fit: Fit) -> bool:
    """Say whether held-out winners are predicted clearly: beyond chance, and by enough to matter."""
    if fit.gain is None or fit.gain_error is None or fit.gain_share is None:
        return False
    return fit.gain > SURENESS * fit.gain_error and fit.gain_share > LEAST_GAIN
