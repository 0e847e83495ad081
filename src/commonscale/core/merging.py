"""Merging what the modalities' sources found for one question into its ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.ranking import Quotas, select
from commonscale.core.types import Candidates, Hit, Modality, Ranking


def rank_all(
    answers: Mapping[Modality, Sequence[Candidates]],
    k: int,
    quotas: Quotas,
    scale: Calibration | None,
    missing: Mapping[Modality, str],
) -> list[Ranking]:
    """Merge what the sources found, question by question.

    Args:
        answers: one ``Candidates`` per question, by modality; the order of the modalities breaks ties.
        k: most hits of a ranking.
        quotas: how many of a modality there must and may be.
        scale: the common scale; None ranks by raw cosine.
        missing: why modalities are missing, as the rankings say it.

    Returns:
        One ranking per question.

    Raises:
        NotCalibratedError: if a modality with hits has no statistics.
    """
    modalities = list(answers)
    questions = zip(*answers.values(), strict=True)
    return [Ranking(_merged(modalities, found, k, quotas, scale), missing) for found in questions]


def _merged(
    modalities: Sequence[Modality],
    found: Sequence[Candidates],
    k: int,
    quotas: Quotas,
    scale: Calibration | None,
) -> tuple[Hit, ...]:
    """Merge one question's candidates: standardize, sort, choose each document once and under quotas.

    On the path of every search, so it works on places in flat lists and makes hits of the chosen ones only.
    """
    ids: list[str] = []
    sources: list[int] = []
    starts: list[int] = []
    parts = []
    for number, (modality, candidates) in enumerate(zip(modalities, found, strict=True)):
        starts.append(len(ids))
        if count := len(candidates.ids):
            ids.extend(candidates.ids)
            sources.extend([number] * count)
            cosines = candidates.cosines
            parts.append(cosines if scale is None else scale.standardize_checked(cosines, modality))
    if not parts:
        return ()
    scores = np.concatenate(parts)
    # Stable: equal scores stay in the order of the modalities, then in the source's order.
    ordered: list[int] = np.argsort(-scores, kind="stable").tolist()
    shared = ids.__getitem__ if len(set(ids)) < len(ids) else None
    hits = []
    for place in select(ordered, k, quotas, lambda place: modalities[sources[place]], shared):
        number = sources[place]
        candidates, rank = found[number], place - starts[number]
        payload = None if candidates.payloads is None else candidates.payloads[rank]
        cosine, score = float(candidates.cosines[rank]), float(scores[place])
        hits.append(Hit(ids[place], modalities[number], cosine, score, payload))
    return tuple(hits)
