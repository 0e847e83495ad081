"""The arithmetic of log-odds: cutting and centring them, and one slope that calibrates them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from commonscale.core.types import Floats

Codes = npt.NDArray[np.int64]
"""Places of labels among the modalities (n,)."""

STEEPEST = 50.0
"""Largest slope that ``slope_of`` gives; smoothed targets keep it far below for any real evidence."""

_STEPS = 100
_SMALLEST_STEP = 1e-8


def centered(evidence: Floats, limit: float) -> Floats:
    """Cut evidence so that no two modalities differ by more than ``limit``, and take the mean off each row.

    Args:
        evidence: shape (n, modalities), in nats; minus infinity is cut like anything that lies too low. A row of
            minus infinity only, impossible everywhere, tells nothing and becomes 0.
        limit: in nats, above 0.

    Returns:
        Shape (n, modalities); rows sum to 0.
    """
    highest = evidence.max(axis=1, keepdims=True)
    nowhere = np.isneginf(highest)
    relative = np.maximum(np.where(nowhere, 0.0, evidence) - np.where(nowhere, 0.0, highest), -limit)
    return np.asarray(relative - relative.mean(axis=1, keepdims=True))


def log_softmax(values: Floats) -> Floats:
    """Give log-probabilities (n, modalities) from log-likelihoods up to a constant of the row."""
    shifted = values - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def rates_of(codes: Codes, modalities: int) -> Floats:
    """Give the share (modalities,) of each label, with one of each added so that none is 0 (Laplace)."""
    counts = np.bincount(codes, minlength=modalities) + 1.0
    return np.asarray(counts / counts.sum())


def losses(evidence: Floats, rates: Floats, codes: Codes) -> Floats:
    """Give each question's log-loss (n,), in nats, of probabilities proportional to ``rates * exp(evidence)``."""
    return np.asarray(-log_softmax(evidence + np.log(rates))[np.arange(len(codes)), codes])


def slope_of(evidence: Floats, codes: Codes) -> float:
    """Fit the factor ``a >= 0`` with which ``rates * exp(a * evidence)`` is calibrated on labels.

    This is temperature scaling (Guo et al. 2017, section 4.2) around the base rate, so that a slope of 0 gives the
    base rate; targets are smoothed as by Platt (1999, section 2.2): of n questions with a label, it counts
    ``(n + 1) / (n + 2)``, the others share the rest. Without this, evidence that separates few labels perfectly
    would be made infinitely sure. The loss is convex in a; the root of its derivative is found by bisection.

    Args:
        evidence: finite, shape (n, modalities); of questions that it was not fitted on.
        codes: the true modalities (n,).

    Returns:
        The slope, from 0 (the evidence is worth nothing) to ``STEEPEST``.
    """
    targets = _smoothed(codes, evidence.shape[1])
    rates = targets.mean(axis=0)

    def derivative(slope: float) -> float:
        shares = np.exp(log_softmax(slope * evidence + np.log(rates)))
        return float(((shares - targets) * evidence).sum())

    low, high = 0.0, STEEPEST
    if derivative(low) >= 0:
        return low
    if derivative(high) <= 0:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if derivative(middle) > 0 else (middle, high)
    return (low + high) / 2


def calibration_of(evidence: Floats, codes: Codes) -> tuple[float, Floats]:
    """Fit slope and bias with which ``rates * exp(a * evidence + b)`` is calibrated on labels.

    Platt scaling (Platt 1999) for any number of modalities, with his smoothed targets, and with a standard normal
    prior on each bias, so that few labels move it little. The loss is convex; Newton's method with step halving
    finds its minimum.

    Args:
        evidence: finite, shape (n, modalities); of questions that it was not fitted on.
        codes: the true modalities (n,).

    Returns:
        The slope, from 0 (the evidence is worth nothing; the bias is then 0 too) to ``STEEPEST``, and the bias
        (modalities,).
    """
    modalities = evidence.shape[1]
    targets = _smoothed(codes, modalities)
    levels = np.log(targets.mean(axis=0))
    # Columns of the design: the evidence, then one indicator for each modality's bias.
    design = np.concatenate(
        [evidence[:, :, None], np.broadcast_to(np.eye(modalities), (len(codes), *(modalities,) * 2))], 2
    )
    ridge = np.array([1e-9, *[1.0] * modalities])

    def loss(point: Floats) -> float:
        return float(-(targets * log_softmax(design @ point + levels)).sum() + (ridge * point**2).sum() / 2)

    point = np.zeros(modalities + 1)
    for _ in range(_STEPS):
        shares = np.exp(log_softmax(design @ point + levels))
        gradient = np.einsum("nm,nmk->k", shares - targets, design) + ridge * point
        mixed = np.einsum("nm,nmk->nk", shares, design)
        curvature = np.einsum("nm,nmk,nml->kl", shares, design, design) - mixed.T @ mixed + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while loss(point - size * step) > loss(point) and size > _SMALLEST_STEP:
            size /= 2
        point = point - size * step
        if np.abs(size * step).max() < _SMALLEST_STEP:
            break
    slope, bias = float(point[0]), point[1:]
    return (0.0, np.zeros(modalities)) if slope <= 0 else (min(slope, STEEPEST), bias)


def _smoothed(codes: Codes, modalities: int) -> Floats:
    """Give targets (n, modalities) that are not quite sure: (n + 1) / (n + 2) for a label that n questions have."""
    own = np.bincount(codes, minlength=modalities) + 1.0
    sure = (own / (own + 1.0))[codes]
    targets = np.repeat(((1.0 - sure) / (modalities - 1))[:, None], modalities, axis=1)
    targets[np.arange(len(codes)), codes] = sure
    return np.asarray(targets)
