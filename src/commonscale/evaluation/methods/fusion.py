"""Fusion of one list per modality, as other libraries do it; each needs the lists and nothing else.

The lists never share a document, so that no scores are added up, and weights are equal. Two of the fusions depend on
how long the lists are: here ``depth`` hits, or all documents of a smaller modality.
"""

from __future__ import annotations

import numpy as np

from commonscale.core.types import Floats, Modality, Ranking
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.methods.retrieved import rank_retrieved

RRF_CONSTANT = 60
"""The constant of reciprocal rank fusion in the paper; LlamaIndex and LangChain have the same."""


def rrf(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Fuse by reciprocal rank: the best of each modality, then the second of each, and so on, texts first.

    See ``reciprocal_rank``.
    """
    return rank_retrieved(benchmark, depth, reciprocal_rank)


def minmax(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Fuse by min-max normalization; see ``relative_score``."""
    return rank_retrieved(benchmark, depth, relative_score)


def dbsf(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Fuse by the distribution of the scores, as Qdrant does; see ``distribution_based``."""
    return rank_retrieved(benchmark, depth, distribution_based)


def reciprocal_rank(_: Modality, cosines: Floats) -> Floats:
    """Score by rank: ``1 / (60 + rank)``, rank from 1 (Cormack, Clarke and Buettcher, SIGIR 2009).

    LangChain's ``EnsembleRetriever`` multiplies it by equal weights; LlamaIndex's ``reciprocal_rerank`` counts ranks
    from 0; Qdrant's ``Fusion.RRF`` is ``1 / (1 + rank)`` unless told otherwise. Over lists that share no document all
    of them rank alike.

    Args:
        cosines: shape (Q, n), descending.

    Returns:
        Scores (Q, n).
    """
    ranks = np.arange(1, cosines.shape[1] + 1)
    return np.broadcast_to(1.0 / (RRF_CONSTANT + ranks), cosines.shape)


def relative_score(_: Modality, cosines: Floats) -> Floats:
    """Put every list on [0, 1]: ``(s - min) / (max - min)``, as LlamaIndex's ``relative_score`` does.

    A list of equal scores becomes 1 if they are positive, else 0.

    Args:
        cosines: shape (Q, n), n >= 1.

    Returns:
        Scores (Q, n) in [0, 1].
    """
    low, high = cosines.min(axis=1, keepdims=True), cosines.max(axis=1, keepdims=True)
    spread = high - low
    equal = spread == 0
    scaled = (cosines - low) / np.where(equal, 1.0, spread)
    scores: Floats = np.where(equal, (high > 0).astype(np.float64), scaled)
    return scores


def distribution_based(_: Modality, cosines: Floats) -> Floats:
    """Put mean and three standard deviations of every list on [0, 1]: ``(s - (m - 3 sd)) / (6 sd)``, not clipped.

    As Qdrant's ``Fusion.DBSF``: sd is that of a sample (n - 1), and a list of one hit, or of equal scores, becomes 0.5.
    LlamaIndex's ``dist_based_score`` takes the population's sd (n) and multiplies by equal weights: over lists of equal
    length, the ranking is the same.

    Args:
        cosines: shape (Q, n), n >= 1.

    Returns:
        Scores (Q, n), 0.5 at the mean.
    """
    count = cosines.shape[1]
    mean = cosines.mean(axis=1, keepdims=True)
    std = np.sqrt(((cosines - mean) ** 2).sum(axis=1, keepdims=True) / max(1, count - 1))
    # A mean of equal numbers may miss them by rounding, and so leave a spread that is none.
    equal = cosines.min(axis=1, keepdims=True) == cosines.max(axis=1, keepdims=True)
    return np.where(equal, 0.5, (cosines - (mean - 3 * std)) / np.where(equal, 1.0, 6 * std))
