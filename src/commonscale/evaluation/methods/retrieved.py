"""Methods that keep the order within a modality: each maps the cosines of its best hits by an increasing function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from commonscale.core.types import Floats, Modality, Ranking
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.methods.merging import Scored, merge

Rescale: TypeAlias = Callable[[Modality, Floats], Floats]
"""From a modality and the cosines (Q, n) of its best hits, best first, to scores (Q, n), descending."""


def rank_retrieved(benchmark: Benchmark, depth: int, rescale: Rescale) -> list[Ranking]:
    """Rescale the best ``depth`` hits of each modality, and merge them.

    That is exact where a document's score does not depend on the others; where it does (the fusions of lists), it is
    what a fusion of two lists of ``depth`` hits gives.

    Args:
        benchmark: the benchmark.
        depth: how long each modality's list, and each ranking, is.
        rescale: the method; modalities without documents are not passed to it.

    Returns:
        One ranking per question.
    """
    found = {}
    for modality, source in benchmark.sources.items():
        if len(source.vectors):
            rows, cosines = source.nearest(benchmark.asked, depth)
            found[modality] = Scored(rows, cosines, rescale(modality, cosines))
    return merge(benchmark.sources, found, depth)
