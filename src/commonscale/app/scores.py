"""How high the best documents of the calibration questions score, before and after: what the histograms show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commonscale.core.errors import NotCalibratedError
from commonscale.core.search import JointSearch
from commonscale.core.types import Floats, Modality, Question

MOST = 1000
"""Most questions that the histograms are of; more look the same."""


@dataclass(frozen=True, slots=True, eq=False)
class BestScores:
    """The best document of each question, by modality.

    Attributes:
        before: their raw cosines (n,).
        after: their scores on the common scale (n,).
    """

    before: Mapping[Modality, Floats]
    after: Mapping[Modality, Floats]


def best_scores(search: JointSearch, questions: Sequence[Question]) -> BestScores | None:
    """Search for the best document of each question in each modality.

    Args:
        search: calibrated.
        questions: in words, embedded; of more than ``MOST``, some are taken, evenly.

    Returns:
        The scores; None if there is nothing to show.
    """
    some = list(questions)[:: -(-len(questions) // MOST)] if questions else []
    before: dict[Modality, Floats] = {}
    after: dict[Modality, Floats] = {}
    for modality in search.sources:
        own = search.only(modality)
        try:
            scaled = [ranking[0].score for ranking in own.search_batch(some, 1) if ranking]
        except NotCalibratedError:  # a modality that has come since
            continue
        raw = [ranking[0].cosine for ranking in own.search_batch(some, 1, raw=True) if ranking]
        if raw and scaled:
            before[modality], after[modality] = np.array(raw), np.array(scaled)
    return BestScores(before, after) if before else None
