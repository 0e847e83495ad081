"""NDCG@10 in two forms: as it is defined, and as GR-CLIP's script computes it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from commonscale.core.types import Floats

CUTOFF = 10


def ndcg(ranking: Sequence[str], relevant: Collection[str], *, ideal_of_retrieved: bool = False) -> float:
    """Compute NDCG@10 with gains 0 and 1 and the discount ``1 / log2(1 + rank)``.

    Args:
        ranking: ids of documents, best first.
        relevant: ids of the relevant ones.
        ideal_of_retrieved: take the ideal ranking of the ten retrieved documents alone, as scikit-learn's
            ``ndcg_score`` does when it is given no others (GR-CLIP's script, ``retrieval_mixbench.py``). With one
            relevant document the two are equal; with several this one is higher: what was not found does not count.

    Returns:
        A value in [0, 1]; 0 if nothing relevant was retrieved.
    """
    gains: Floats = np.array([document in relevant for document in ranking[:CUTOFF]], dtype=np.float64)
    count = int(gains.sum()) if ideal_of_retrieved else min(CUTOFF, len(relevant))
    if not gains.any():
        return 0.0
    discounts = 1.0 / np.log2(np.arange(2, CUTOFF + 2))
    return float(gains @ discounts[: len(gains)] / discounts[:count].sum())
