"""What the demonstration measures: the gap, and how well each method ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from commonscale.core.questions import QuestionBank
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Floats, Modality, Question, Ranking
from commonscale.demo.world import Entry, World
from commonscale.evaluation import per_question
from commonscale.evaluation.metrics import DEPTH

METHODS = ("raw cosine", "standardized", "one modality alone")
SHOWN_METRICS = ("recall@1", "recall@5", "recall@20", "mrr@20")

Table = dict[str, dict[Modality, dict[str, float]]]
"""``{method: {modality of the questions: {metric: mean}}}``"""


@dataclass(frozen=True, eq=False)
class Gap:
    """The modality gap of the corpus, before anything is done about it.

    Attributes:
        distance: norm of the difference between the mean passage and the mean picture vector (Liang et al. 2022,
            "Mind the Gap"); 0 to 2.
        best: each calibration question's best cosine (C,) by modality: what the scale is learned from.
        standardized: the same on the common scale.
    """

    distance: float
    best: Mapping[Modality, Floats]
    standardized: Mapping[Modality, Floats]

    def mean(self, modality: Modality) -> float:
        """Mean best cosine of a modality."""
        return float(self.best[modality].mean())


def measure_gap(search: JointSearch, bank: QuestionBank, vectors: Mapping[Modality, npt.NDArray[np.float32]]) -> Gap:
    """Measure the gap.

    Args:
        search: the calibrated search.
        bank: the calibration questions with their best hits.
        vectors: the unit vectors of the corpus by modality.

    Returns:
        The gap in numbers.
    """
    calibration = search.calibration
    best = {modality: hits.cosines for modality, hits in bank.best.items()}
    scaled = {m: c if calibration is None else calibration.standardize(c, m) for m, c in best.items()}
    distance = float(np.linalg.norm(vectors[TEXT].mean(axis=0) - vectors[IMAGE].mean(axis=0)))
    return Gap(distance, best, scaled)


def rank_all(search: JointSearch, questions: Sequence[Question], entries: Sequence[Entry]) -> dict[str, list[Ranking]]:
    """Rank every question by every method.

    "one modality alone" searches just the modality that holds the answer: the ceiling that no method passes
    which keeps the order within a modality.

    Args:
        search: the calibrated search.
        questions: the entries' questions, embedded.
        entries: what is asked for.

    Returns:
        One ranking per question, by method.
    """
    alone = {
        m: JointSearch({m: source}).search_batch(questions, DEPTH, raw=True) for m, source in search.sources.items()
    }
    rankings = (
        search.search_batch(questions, DEPTH, raw=True),
        search.search_batch(questions, DEPTH),
        [alone[entry.modality][index] for index, entry in enumerate(entries)],
    )
    return dict(zip(METHODS, rankings, strict=True))


def score(world: World, rankings: Mapping[str, Sequence[Ranking]]) -> Table:
    """Score the rankings of all questions of the world, apart for the two kinds of questions.

    Args:
        world: the world.
        rankings: one ranking per entry, by method.

    Returns:
        Mean metrics; see ``commonscale.evaluation.metrics`` for their definitions.
    """
    relevant = [entry.documents for entry in world.entries]
    table: Table = {}
    for method, ranked in rankings.items():
        values = per_question([ranking.ids for ranking in ranked], relevant)
        table[method] = {
            modality: {
                metric: float(values[metric][[entry.modality == modality for entry in world.entries]].mean())
                for metric in SHOWN_METRICS
            }
            for modality in (TEXT, IMAGE)
        }
    return table
