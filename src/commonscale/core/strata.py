"""Statistics of strata: groups of questions that have a scale of their own, as far as they are large enough.

A stratum of n questions gets ``global + n / (n + kappa) (own - global)``: the credibility estimator of Bühlmann and
Straub (1970, "Glaubwürdigkeit für Schadensätze"), which is the empirical Bayes estimator of Efron and Morris (1975,
JASA 70) for unequal sizes. kappa is the variance within strata over that between their means: where strata differ
little beyond what chance makes of small samples it is large, and all of them get the global statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from commonscale.core.calibration import Calibration, ModalityCalibration
from commonscale.core.statistics import ModalityStatistics
from commonscale.core.types import Floats, Modality


@dataclass(frozen=True, slots=True, eq=False)
class PerQuestion:
    """What each banked question says of one modality.

    Attributes:
        best: similarity of its best hit (C,), NaN where it has none.
        means: mean of its similarities with all documents (C,), for the chance level; else None.
        stds: their standard deviation (C,).
    """

    best: Floats
    means: Floats | None = None
    stds: Floats | None = None


def credibility(values: Floats, groups: Sequence[str | None]) -> float:
    """Estimate kappa: how many questions a stratum needs for its own mean to count as much as the global one.

    With w the pooled variance within the groups and b the unbiased estimate of the variance between their true means
    (Bühlmann and Straub 1970; Bühlmann and Gisler 2005, section 4.8), ``kappa = w / b``:

        b = (sum_s n_s (mean_s - mean)^2 - (S - 1) w) / (n - sum_s n_s^2 / n)

    Args:
        values: one per question (C,), finite.
        groups: the stratum of each (C); None is a group like others.

    Returns:
        A number of at least 0; infinite if there are not two groups, or they differ no more than by chance.
    """
    members = [values[np.array(rows)] for rows in _rows(groups).values()]
    n, count = len(values), len(members)
    if count < 2 or n <= count:
        return math.inf
    sizes = np.array([len(member) for member in members])
    means = np.array([member.mean() for member in members])
    within = sum(float(((member - member.mean()) ** 2).sum()) for member in members) / (n - count)
    between = float((sizes * (means - values.mean()) ** 2).sum()) - (count - 1) * within
    between /= n - float((sizes**2).sum()) / n
    if between <= 0:
        return math.inf
    return within / between


def shrunken(values: Floats, groups: Sequence[str | None]) -> dict[str, float]:
    """Give the mean of each stratum, shrunken to the mean of all values.

    Args:
        values: one per question (C,), finite.
        groups: the stratum of each (C), None for none.

    Returns:
        Means by stratum, in the order in which the strata first come.
    """
    kappa = credibility(values, groups)
    overall = float(values.mean())
    result = {}
    for key, rows in _rows(groups).items():
        if key is not None:
            own = float(values[np.array(rows)].mean())
            result[key] = overall + len(rows) / (len(rows) + kappa) * (own - overall)
    return result


def shrunken_statistics(values: Floats, groups: Sequence[str | None]) -> dict[str, ModalityStatistics]:
    """Give the statistics of each stratum, shrunken to those of all values: the mean, and the variance.

    The variance is the mean of the squared deviations from the stratum's own mean, times ``n / (n - 1)`` for the one
    that is estimated with it, so the same estimator serves it, with a kappa of its own.

    Args:
        values: best similarities, one per question (C,), finite.
        groups: the stratum of each (C), None for none.

    Returns:
        Statistics by stratum; ``count`` is the size of the stratum.
    """
    if not len(values):
        return {}
    rows = _rows(groups)
    squares = np.empty(len(values))
    for members in rows.values():
        own = values[np.array(members)]
        # One question alone says nothing of the spread: it gets that of all.
        alone = float(((values - values.mean()) ** 2).mean())
        squares[np.array(members)] = (own - own.mean()) ** 2 * (len(own) / (len(own) - 1)) if len(own) > 1 else alone
    means = shrunken(values, groups)
    # The global variance holds the differences between strata too, which a large stratum's own does not.
    kappa, overall = credibility(squares, groups), float(values.var())
    result = {}
    for key, mean in means.items():
        members = rows[key]
        own_variance = float(squares[np.array(members)].mean())
        variance = overall + len(members) / (len(members) + kappa) * (own_variance - overall)
        result[key] = ModalityStatistics(mean, math.sqrt(max(0.0, variance)), len(members))
    return result


def stratified(
    calibration: Calibration, groups: Sequence[str | None], known: Mapping[Modality, PerQuestion]
) -> Calibration:
    """Add the scales of strata to a calibration.

    Args:
        calibration: the scale of all questions.
        groups: the stratum of each banked question (C), None for none.
        known: what the questions say of each modality, in the order of ``groups``.

    Returns:
        The calibration with ``strata``: a scale for every key that comes. Modalities in which none of a stratum's
        questions found anything have the global statistics there.
    """
    keys = [key for key in dict.fromkeys(groups) if key is not None]
    if not keys:
        return replace(calibration, strata={})
    entries: dict[str, dict[Modality, ModalityCalibration]] = {key: dict(calibration.modalities) for key in keys}
    for modality, entry in calibration.modalities.items():
        for key, own in _entries(entry, groups, known[modality]).items():
            entries[key][modality] = own
    sizes = {key: sum(group == key for group in groups) for key in keys}
    strata = {
        key: replace(calibration, modalities=one, questions=sizes[key], strata={}, image_questions=None)
        for key, one in entries.items()
    }
    return replace(calibration, strata=strata)


def _entries(
    entry: ModalityCalibration, groups: Sequence[str | None], known: PerQuestion
) -> dict[str, ModalityCalibration]:
    """Give one modality's entry for each stratum."""
    found = ~np.isnan(known.best)
    there = [group for group, has in zip(groups, found.tolist(), strict=True) if has]
    entries = {key: replace(entry, statistics=s) for key, s in shrunken_statistics(known.best[found], there).items()}
    if entry.background is None or known.means is None or known.stds is None:
        return entries
    means, stds = shrunken(known.means, groups), shrunken(known.stds, groups)
    for key in means:
        background = replace(entry.background, mean=means[key], std=stds[key])
        entries[key] = replace(entries.get(key, entry), background=background)
    return entries


def _rows(groups: Sequence[str | None]) -> dict[str | None, list[int]]:
    rows: dict[str | None, list[int]] = {}
    for place, group in enumerate(groups):
        rows.setdefault(group, []).append(place)
    return rows
