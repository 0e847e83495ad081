"""Which modalities fill the first hits: the most direct picture of a bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from commonscale.core.types import Modality, Ranking


@dataclass(frozen=True, slots=True)
class Shares:
    """The first hits of some questions.

    Attributes:
        questions: how many questions.
        hits: by modality, its share of all hits.
        any: by modality, the share of the questions that have at least one hit of it.
        first: by modality, the share of the questions whose first hit is of it.
    """

    questions: int
    hits: Mapping[Modality, float]
    any: Mapping[Modality, float]
    first: Mapping[Modality, float]


def measure_shares(rankings: Sequence[Ranking], modalities: Sequence[Modality], k: int) -> Shares:
    """Count the modalities among the first ``k`` hits of every question.

    Args:
        rankings: one per question, at least one; each with at least one hit.
        modalities: all modalities.
        k: how many hits to count; fewer where there are fewer.
    """
    counts = count_hits(rankings, modalities, k)
    firsts = [ranking[0].modality for ranking in rankings if len(ranking)]
    total = max(1, int(counts.sum()))
    return Shares(
        len(rankings),
        {m: float(counts[:, at].sum() / total) for at, m in enumerate(modalities)},
        {m: float((counts[:, at] > 0).mean()) for at, m in enumerate(modalities)},
        {m: firsts.count(m) / len(rankings) for m in modalities},
    )


def count_hits(rankings: Sequence[Ranking], modalities: Sequence[Modality], k: int) -> npt.NDArray[np.int64]:
    """Count each modality's hits (q, m) among the first ``k`` of every question."""
    place = {modality: at for at, modality in enumerate(modalities)}
    counts = np.zeros((len(rankings), len(modalities)), dtype=np.int64)
    for row, ranking in enumerate(rankings):
        for hit in ranking[:k]:
            counts[row, place[hit.modality]] += 1
    return counts


def changed_hits(one: Sequence[Ranking], other: Sequence[Ranking], k: int) -> float:
    """Give the share of the first ``k`` hits that are in one ranking but not in the other, on average."""
    lost = [
        len({(h.modality, h.id) for h in a[:k]} - {(h.modality, h.id) for h in b[:k]}) / max(1, len(a[:k]))
        for a, b in zip(one, other, strict=True)
    ]
    return float(np.mean(lost))
