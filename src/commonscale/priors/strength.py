"""How many units of score a nat of log-odds is worth, learnt from unlabeled questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats, Modality, Question
from commonscale.priors.checks import check_questions

if TYPE_CHECKING:
    from commonscale.core.search import JointSearch

NATS = 2.0
"""How many nats one standard deviation of the score difference is worth.

Measured with labels (docs/priors.md): on real embeddings the best strength is near half a standard deviation and the
figures are flat from a third of it to once as much again.
"""


def strength_of(best: Mapping[Modality, Floats] | Calibration) -> float:
    """Fit the strength of a prior to a scale: half the spread of the score difference between modalities.

    With two modalities it is ``sd(s_text - s_image) / 2`` over the questions' best hits, with more the same of the
    root mean square over the pairs. Scores on another scale, twice as wide, give twice the strength.

    A calibration keeps the spread of each modality's best hits, not their covariance; taking that for 0 gives a
    strength that is a few percent higher, which makes no difference (docs/priors.md).

    Args:
        best: the calibration, or the best score of each question in each modality (n,), NaN where nothing was found.

    Returns:
        Units of score for each nat.

    Raises:
        InvalidInputError: if there are fewer than two modalities, lengths differ, or no pair of modalities has two
            questions that found something in both.
    """
    if isinstance(best, Calibration):
        return _of_calibration(best)
    if len(best) < 2:
        raise InvalidInputError(
            f"the strength of a prior needs best scores in at least two modalities, got {sorted(best)}"
        )
    if len({np.shape(scores) for scores in best.values()}) > 1:
        shapes = {modality: np.shape(scores) for modality, scores in best.items()}
        raise InvalidInputError(f"best scores must be given for the same questions in every modality, got {shapes}")
    variances = []
    for one, other in combinations(best.values(), 2):
        differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
        finite = differences[np.isfinite(differences)]
        if finite.size >= 2:
            variances.append(float(finite.var()))
    if not variances:
        raise InvalidInputError(
            "the strength of a prior needs at least two questions that found something in two modalities, got none; "
            "give unlabeled questions of the kind that users ask"
        )
    return float(np.sqrt(np.mean(variances))) / NATS


def _of_calibration(calibration: Calibration) -> float:
    entries = calibration.modalities
    if len(entries) < 2:
        raise InvalidInputError(
            f"the strength of a prior needs a calibration of at least two modalities, got {sorted(entries)}"
        )
    variances = [(entry.statistics.std / entry.scale) ** 2 for entry in entries.values()]
    return float(np.sqrt(2.0 * np.mean(variances))) / NATS


def best_scores(search: JointSearch, questions: Sequence[Question]) -> dict[Modality, Floats]:
    """Search the best hit of every question in every modality and give its score, without any prior.

    Args:
        search: a calibrated search, such as ``retriever.joint_search``; a prior that it uses is left out.
        questions: embedded (``retriever.embed_questions(texts)``), unlabeled.

    Returns:
        By modality, one score per question (n,), NaN where nothing was found.

    Raises:
        InvalidInputError: if there are no questions, or it is no search.
        NotCalibratedError: if the search is not calibrated.
    """
    if not questions:
        raise InvalidInputError("best scores need unlabeled questions, got none")
    check_questions(questions)
    if not callable(getattr(search, "search_batch", None)):
        raise InvalidInputError(
            f"best scores need a commonscale.JointSearch, got {search!r}; give retriever.joint_search"
        )
    modalities = list(search.sources)
    found = {modality: np.full(len(questions), np.nan) for modality in modalities}
    rankings = search.search_batch(questions, len(modalities), minimum=dict.fromkeys(modalities, 1))
    for row, ranking in enumerate(rankings):
        for modality in modalities:
            if hits := ranking.of(modality):
                found[modality][row] = hits[0].score
    prior = getattr(search, "prior", None)
    added = {} if prior is None else prior.offsets(questions)
    return {modality: scores - added.get(modality, 0.0) for modality, scores in found.items()}
