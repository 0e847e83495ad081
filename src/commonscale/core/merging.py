"""Merging what the modalities' sources found for one question into its ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.ranking import Quotas, select
from commonscale.core.types import Candidates, Floats, Hit, Modality, Ranking


def rank_all(
    answers: Mapping[Modality, Sequence[Candidates]],
    k: int,
    quotas: Quotas,
    scales: Sequence[Calibration | None],
    missing: Mapping[Modality, str],
    offsets: Mapping[Modality, Floats] | None = None,
) -> list[Ranking]:
    """Merge what the sources found, question by question.

    Args:
        answers: one ``Candidates`` per question, by modality; the order of the modalities breaks ties.
        k: most hits of a ranking.
        quotas: how many of a modality there must and may be.
        scales: the common scale of each question; None ranks by raw cosine.
        missing: why modalities are missing, as the rankings say it.
        offsets: what a prior adds to the scores of each modality (n,), one per question; None for nothing.

    Returns:
        One ranking per question.

    Raises:
        NotCalibratedError: if a modality with hits has no statistics.
    """
    modalities = list(answers)
    rankings = []
    for place, (scale, *found) in enumerate(zip(scales, *answers.values(), strict=True)):
        added = [float(offsets[m][place]) if m in offsets else 0.0 for m in modalities] if offsets else None
        rankings.append(Ranking(_merged(modalities, found, k, quotas, scale, added), missing))
    return rankings


def _merged(
    modalities: Sequence[Modality],
    found: Sequence[Candidates],
    k: int,
    quotas: Quotas,
    scale: Calibration | None,
    added: Sequence[float] | None,
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
            values = candidates.cosines if candidates.similarities is None else candidates.similarities
            scores = values if scale is None else scale.standardize_checked(values, modality)
            parts.append(scores + added[number] if added else scores)
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
