"""Merging what each modality found, by scores of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from commonscale.core.types import Floats, Hit, Modality, Ranking
from commonscale.evaluation.sources import VectorSource


class Scored(NamedTuple):
    """One modality's best documents of every question.

    Attributes:
        rows: rows of the documents (Q, n), best first.
        cosines: raw cosines (Q, n).
        scores: what the modalities are merged by (Q, n), descending.
    """

    rows: npt.NDArray[np.intp]
    cosines: Floats
    scores: Floats


def merge(sources: Mapping[Modality, VectorSource], found: Mapping[Modality, Scored], depth: int) -> list[Ranking]:
    """Rank the documents of all modalities by their scores.

    Args:
        sources: the documents by modality.
        found: by modality, for the same questions; the order of the modalities breaks ties, as in ``JointSearch``.
        depth: most hits of a ranking.

    Returns:
        One ranking per question.
    """
    labels = [modality for modality, scored in found.items() for _ in range(scored.rows.shape[1])]
    starts = np.cumsum([0, *(len(sources[modality].ids) for modality in found)]).tolist()
    ids = [name for modality in found for name in sources[modality].ids]
    rows = np.hstack([scored.rows + start for start, scored in zip(starts, found.values(), strict=False)])
    cosines = np.hstack([scored.cosines for scored in found.values()])
    scores = np.hstack([scored.scores for scored in found.values()])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    rows, cosines, scores = (np.take_along_axis(values, order, axis=1) for values in (rows, cosines, scores))
    return [
        Ranking(
            tuple(
                Hit(ids[row], labels[place], cosine, score) for row, place, cosine, score in zip(*columns, strict=True)
            )
        )
        for columns in zip(rows.tolist(), order.tolist(), cosines.tolist(), scores.tolist(), strict=True)
    ]
