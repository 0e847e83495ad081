"""Retrieval metrics, by ir-measures (trec_eval's definitions).

With ``R(q)`` the relevant documents of question q, and ``top`` the first k of its ranking:

    recall@k   |top & R(q)| / |R(q)|: the fraction of the relevant documents found. A question with three relevant
               passages reaches at most 1/3 at k = 1. (It is not hit@k, the share of questions with any one found.)
    mrr@20     1 / rank of the first relevant document, 0 if none is in the first 20.
    ndcg@20    gains 0 and 1, discount 1 / log2(1 + rank), divided by that of the best possible ranking of R(q).

A figure is the mean over all questions, those for which nothing relevant was retrieved included with 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.core.types import Floats

METRICS: dict[str, str] = {
    "recall@1": "R@1",
    "recall@5": "R@5",
    "recall@20": "R@20",
    "recall@100": "R@100",
    "mrr@20": "RR@20",
    "ndcg@20": "nDCG@20",
}
"""Our names of the metrics, in the order of the tables, and their names in ir-measures."""

DEPTH = 100
"""How long rankings must be for every metric to be exact."""


def per_question(rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]]) -> dict[str, Floats]:
    """Compute every metric of every question.

    Args:
        rankings: document ids per question, best first, none twice; ``DEPTH`` of them, or all there are.
        relevant: the relevant documents' ids per question, at least one each.

    Returns:
        By metric, one value in [0, 1] per question (Q,), in the order given.

    Raises:
        InvalidInputError: if the lengths differ, a question has no relevant document, or an id is ranked twice.
        MissingExtraError: if ir-measures is not installed.
    """
    _check(rankings, relevant)
    ir_measures = require("ir_measures", "cli")
    measures = {ir_measures.parse_measure(theirs): ours for ours, theirs in METRICS.items()}
    qrels = {str(q): dict.fromkeys(docs, 1) for q, docs in enumerate(relevant)}
    # Scores made from ranks: no two are equal, so that no library breaks ties its own way.
    places = [float(-rank) for rank in range(max(map(len, rankings), default=0))]
    run = {str(q): dict(zip(docs, places, strict=False)) for q, docs in enumerate(rankings)}
    values = {ours: np.zeros(len(rankings), dtype=np.float64) for ours in METRICS}
    for metric in ir_measures.evaluator(list(measures), qrels).iter_calc(run):
        values[measures[metric.measure]][int(metric.query_id)] = metric.value
    return values


def _check(rankings: Sequence[Sequence[str]], relevant: Sequence[Collection[str]]) -> None:
    if len(rankings) != len(relevant):
        raise InvalidInputError(f"{len(rankings)} rankings come with relevant documents for {len(relevant)} questions")
    for index, (docs, wanted) in enumerate(zip(rankings, relevant, strict=True)):
        if not wanted:
            raise InvalidInputError(f"question {index} has no relevant document, so no metric is defined for it")
        if len(set(docs)) != len(docs):
            raise InvalidInputError(f"the ranking of question {index} names a document twice")
