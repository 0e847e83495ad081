"""What a scale wins and costs on questions that it was not made from, where labels tell which documents are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commonscale.core.types import Floats, Modality, Ranking
from commonscale.diagnostics.intervals import Estimate, mean_intervals
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.evaluate import evaluate_questions

ALL = "all"
"""The group of all questions."""

METRICS = ("mrr@20", "recall@1", "recall@5", "recall@20", "ndcg@20")


@dataclass(frozen=True, slots=True)
class Gain:
    """One metric of one group of questions under one method.

    Attributes:
        value: its mean.
        before: its mean under what it is compared with.
        difference: value minus before, with the paired bootstrap interval of 95% over the questions.
        questions: how many questions.
    """

    value: float
    before: float
    difference: Estimate
    questions: int


Gains = Mapping[str, Mapping[str, Mapping[str, Gain]]]
"""``{method: {group: {metric: gain}}}``; groups are modalities that questions ask for, and ``"all"``."""


def measure_values(benchmark: Benchmark, rankings: Sequence[Ranking]) -> dict[str, dict[str, Floats]]:
    """Score rankings question by question: ``{group: {metric: values}}``.

    Args:
        benchmark: the labels of the questions that were asked.
        rankings: one per question.

    Raises:
        MissingExtraError: if ir-measures is not installed.
    """
    scored = evaluate_questions(benchmark, rankings)
    by_group = {modality: {name: entry.values[name] for name in METRICS} for modality, entry in scored.items()}
    together = {name: np.concatenate([values[name] for values in by_group.values()]) for name in METRICS}
    return ({ALL: together} if len(by_group) > 1 else {}) | by_group


def compare(
    before: Mapping[str, Mapping[str, Floats]], after: Mapping[str, Mapping[str, Floats]]
) -> dict[str, dict[str, Gain]]:
    """Compare a method with another one, question by question.

    Args:
        before: what ``measure_values`` gave for the other one, such as raw cosine.
        after: what it gave for the method.

    Returns:
        ``{group: {metric: gain}}``.
    """
    gains: dict[str, dict[str, Gain]] = {}
    for group, values in after.items():
        old, new = (np.stack([by_metric[name] for name in METRICS], axis=1) for by_metric in (before[group], values))
        estimates = mean_intervals(new - old)
        rows = zip(METRICS, new.mean(axis=0).tolist(), old.mean(axis=0).tolist(), estimates, strict=True)
        gains[group] = {name: Gain(value, was, estimate, len(new)) for name, value, was, estimate in rows}
    return gains


def rows_by_kind(benchmark: Benchmark) -> dict[Modality, list[int]]:
    """Give, by modality, the questions that ask for documents of it; one that asks for both is in both."""
    pairs = benchmark.relevant
    found = {m: np.unique(pairs.questions[pairs.modalities == m]).tolist() for m in benchmark.documents}
    return {modality: rows for modality, rows in found.items() if rows}
