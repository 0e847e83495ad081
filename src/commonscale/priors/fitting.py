"""Logistic regression on question embeddings, regularized and calibrated by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.extras import require
from commonscale.core.types import Floats
from commonscale.priors.odds import Codes, calibration_of, losses, rates_of

GRID = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse regularizations tried. Embeddings have norm 1, so what is usual for standardized features is too strict."""

UNTRIED = 10.0
"""The inverse regularization where labels are too few to choose one (docs/priors.md)."""

FOLDS = 5
FEWEST_FOLDS = 3

_STEPS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted regression.

    Attributes:
        weights: shape (modalities, d): evidence is ``weights @ embedding + intercept``.
        intercept: shape (modalities,).
        regularization: the inverse regularization C chosen.
        slope: the factor that calibrated it (already in the weights); 1 where labels were too few to find one.
        gain: log-loss saved against the base rate, in nats for each question out of fold; None where labels were too
            few for cross-validation.
        gain_error: its standard error; questions asked more than once count as one piece of evidence.
        gain_share: the gain as a share of the base rate's log-loss.
        held_out: calibrated evidence of each question by a regression that did not see it (n, modalities); None where
            there was no cross-validation.
    """

    weights: Floats
    intercept: Floats
    regularization: float
    slope: float
    gain: float | None = None
    gain_error: float | None = None
    gain_share: float | None = None
    held_out: Floats | None = None

    def facts(self) -> dict[str, float]:
        """Give what was measured, by name, without what was not."""
        known = {name: getattr(self, name) for name in ("regularization", "slope", "gain", "gain_error", "gain_share")}
        return {name: float(value) for name, value in known.items() if value is not None}


def fit_regression(
    vectors: Floats, codes: Codes, modalities: int, weights: Floats | None = None, grid: Sequence[float] = GRID
) -> Fit:
    """Fit evidence of modalities to labeled embeddings.

    The regularization with the lowest out-of-fold log-loss is taken, and the out-of-fold evidence then finds the
    slope and bias that make it calibrated, a slope of 0 where it is worth nothing. Equal embeddings, one question
    asked often, stay in one fold: else the regression would be judged on what it has learnt by heart.

    Args:
        vectors: unit rows (n, d).
        codes: the modality of each (n,); at least two different ones.
        modalities: how many modalities there are; those without a label get the evidence of the base rate.
        weights: how much each question counts in the regression (n,); calibration counts all alike.
        grid: inverse regularizations to choose from.

    Returns:
        The fit on all questions.
    """
    counted = np.ones(len(codes)) if weights is None else weights
    mean = vectors.mean(axis=0)
    features = vectors - mean
    folds = _folds(vectors, codes)
    if not folds:
        coefficients, intercept = _evidence(features, codes, counted, modalities, UNTRIED)
        return Fit(coefficients, intercept - coefficients @ mean, UNTRIED, 1.0)
    rates = rates_of(codes, modalities)
    base = losses(np.zeros((len(codes), modalities)), rates, codes)
    best, slope, bias, lowest = UNTRIED, 0.0, np.zeros(modalities), base
    held_out = np.zeros((len(codes), modalities))
    for c in grid:
        evidence = _out_of_fold(features, codes, counted, modalities, c, folds)
        # Each is judged after its own calibration, which is what will be used of it.
        steepness, shift = calibration_of(evidence, codes)
        calibrated = steepness * evidence + shift
        lost = losses(calibrated, rates, codes)
        if lost.sum() < lowest.sum():
            best, slope, bias, lowest, held_out = c, steepness, shift, lost, calibrated
    coefficients, intercept = _evidence(features, codes, counted, modalities, best)
    coefficients, intercept = slope * coefficients, slope * intercept + bias
    # Nothing is known of modalities without a label: they get the mean of the others.
    known = np.bincount(codes, minlength=modalities) > 0
    coefficients[~known], intercept[~known] = coefficients[known].mean(axis=0), intercept[known].mean()
    gains = base - lowest
    sums = np.bincount(groups_of(vectors), weights=gains)
    error = float(np.sqrt(len(sums)) * sums.std() / len(gains))
    share = float(gains.sum() / base.sum())
    return Fit(coefficients, intercept - coefficients @ mean, best, slope, float(gains.mean()), error, share, held_out)


def groups_of(vectors: Floats) -> npt.NDArray[np.int64]:
    """Number the different rows (n,): equal rows have one number."""
    return np.unique(np.round(vectors, 6), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _folds(vectors: Floats, codes: Codes) -> list[tuple[Any, Any]]:
    """Cut into folds of similar shares; none if the rarest label has too few different questions."""
    groups = groups_of(vectors)
    rarest = min(len(np.unique(groups[codes == code])) for code in np.unique(codes))
    count = min(FOLDS, rarest)
    if count < FEWEST_FOLDS:
        return []
    splitter = require("sklearn.model_selection", "priors").StratifiedGroupKFold(count, shuffle=True, random_state=0)
    folds = list(splitter.split(vectors, codes, groups))
    # Where one question is asked very often a fold may hold all that there is of a label, or nothing.
    usable = all(len(test) and len(np.unique(codes[train])) == len(np.unique(codes)) for train, test in folds)
    return folds if usable else []


def _out_of_fold(
    features: Floats, codes: Codes, counted: Floats, modalities: int, c: float, folds: list[tuple[Any, Any]]
) -> Floats:
    found = np.zeros((len(codes), modalities))
    for train, test in folds:
        weights, intercept = _evidence(features[train], codes[train], counted[train], modalities, c)
        found[test] = features[test] @ weights.T + intercept
    return found


def _evidence(features: Floats, codes: Codes, counted: Floats, modalities: int, c: float) -> tuple[Floats, Floats]:
    """Fit logits and take the log base rate off them."""
    linear_model = require("sklearn.linear_model", "priors")
    model = linear_model.LogisticRegression(C=c, max_iter=_STEPS).fit(features, codes, sample_weight=counted)
    weights, intercept = np.zeros((modalities, features.shape[1])), np.zeros(modalities)
    shares = np.bincount(codes, weights=counted, minlength=modalities)
    present = model.classes_
    if len(present) == 2:  # one row: the logit of the second against the first
        weights[present] = np.vstack([-model.coef_[0] / 2, model.coef_[0] / 2])
        intercept[present] = [-model.intercept_[0] / 2, model.intercept_[0] / 2]
    else:
        weights[present], intercept[present] = model.coef_, model.intercept_
    intercept[present] -= np.log(shares[present] / shares.sum())
    # The mean evidence of those that were seen is that of the rest: nothing is known of it.
    intercept[present] -= intercept[present].mean()
    return weights, intercept
