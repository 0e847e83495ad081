"""Scoring every method on benchmarks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError
from commonscale.core.files import write_text_atomically
from commonscale.core.types import Floats, Modality, Ranking
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.methods import METHODS
from commonscale.evaluation.metrics import DEPTH, per_question
from commonscale.evaluation.pairs import MODALITIES
from commonscale.evaluation.sources import document_id

Scores: TypeAlias = dict[str, dict[Modality, dict[str, float]]]
"""``{method: {modality: {metric: mean}}}`` of one benchmark."""

Results: TypeAlias = dict[str, Scores]
"""``{file: {method: {modality: {metric: mean}}}}``: the JSON that ``write_results`` writes."""


@dataclass(frozen=True, slots=True, eq=False)
class QuestionValues:
    """The metrics of every question of one modality, for means and for paired comparisons of methods.

    Attributes:
        questions: rows of the benchmark's questions (n,), ascending; the same for every method.
        values: by metric, one value per question (n,).
    """

    questions: npt.NDArray[np.int64]
    values: dict[str, Floats]

    def means(self) -> dict[str, float]:
        """Average every metric over the questions."""
        return {metric: float(values.mean()) for metric, values in self.values.items()}


MethodValues: TypeAlias = dict[str, dict[Modality, QuestionValues]]
"""``{method: {modality: metrics of every question}}`` of one benchmark."""

FileValues: TypeAlias = dict[str, MethodValues]
"""``{file: {method: {modality: metrics of every question}}}``."""


def evaluate_questions(benchmark: Benchmark, rankings: Sequence[Ranking]) -> dict[Modality, QuestionValues]:
    """Score rankings question by question, apart for each modality.

    A question belongs to the modality of its relevant documents. One that has relevant documents of both kinds is
    scored in both: among the texts it asks for as a text question, among the images as an image question. So the
    ceiling of a modality bounds every method that keeps the order within it.

    Args:
        benchmark: the benchmark.
        rankings: one per question, of ``DEPTH`` documents or all there are, with ids as ``document_id`` gives them.

    Returns:
        By modality, in the order text, image; a modality that no question asks for is absent.
    """
    pairs = benchmark.relevant
    scored: dict[Modality, QuestionValues] = {}
    for modality in MODALITIES:
        of = pairs.modalities == modality
        relevant: dict[int, set[str]] = {int(row): set() for row in np.unique(pairs.questions[of])}
        for row, document in zip(pairs.questions[of].tolist(), pairs.documents[of].tolist(), strict=True):
            relevant[row].add(document_id(modality, document))
        if relevant:
            values = per_question([rankings[row].ids for row in relevant], list(relevant.values()))
            scored[modality] = QuestionValues(np.array(list(relevant), dtype=np.int64), values)
    return scored


def score_methods(benchmark: Benchmark, methods: Iterable[str] | None = None) -> MethodValues:
    """Score methods on one benchmark, question by question.

    Args:
        benchmark: the benchmark.
        methods: names from ``METHODS``; all of them by default. Those whose input the benchmark lacks (labeled
            pairs, calibration questions) are left out.

    Returns:
        By method and modality, the metrics of every question.

    Raises:
        InvalidInputError: if there is no method of that name.
        MissingExtraError: if ir-measures is not installed.
    """
    scored: MethodValues = {}
    for name in _chosen(methods):
        method = METHODS[name]
        if method.applies(benchmark):
            scored[name] = evaluate_questions(benchmark, method.rank(benchmark, DEPTH))
    return scored


def score_files(paths: Iterable[str | os.PathLike[str]], methods: Iterable[str] | None = None) -> FileValues:
    """Score methods on benchmark files, question by question.

    Args:
        paths: ``.npz`` files (see ``Benchmark``); one named twice is scored once.
        methods: as for ``score_methods``.

    Returns:
        By file, as it was named, what ``score_methods`` gives.

    Raises:
        FileNotFoundError: if a file does not exist.
        FileFormatError: if one is damaged or not of the format.
        InvalidInputError: if there is no file, or no method of that name.
        MissingExtraError: if ir-measures is not installed.
    """
    names = list(dict.fromkeys(os.fspath(path) for path in paths))
    if not names:
        raise InvalidInputError("there is no benchmark to evaluate; name at least one .npz file")
    chosen = _chosen(methods)
    return {name: score_methods(Benchmark.load(name), chosen) for name in names}


def means_of(scored: MethodValues) -> Scores:
    """Average the metrics of every question.

    Args:
        scored: as ``score_methods`` gives it.

    Returns:
        ``{method: {"text" | "image": {metric: mean}}}``.
    """
    return {
        name: {modality: values.means() for modality, values in by_modality.items()}
        for name, by_modality in scored.items()
    }


def evaluate_benchmark(benchmark: Benchmark, methods: Iterable[str] | None = None) -> Scores:
    """Score methods on one benchmark.

    Arguments and errors are those of ``score_methods``.

    Returns:
        ``{method: {"text" | "image": {metric: mean}}}``; every method is scored on both modalities, so a ceiling
        is 0 by construction on the other one.
    """
    return means_of(score_methods(benchmark, methods))


def evaluate_files(paths: Iterable[str | os.PathLike[str]], methods: Iterable[str] | None = None) -> Results:
    """Score methods on benchmark files.

    Arguments and errors are those of ``score_files``.

    Returns:
        ``{file: {method: {"text" | "image": {metric: mean}}}}``, with files as they were named.
    """
    return {name: means_of(scored) for name, scored in score_files(paths, methods).items()}


def _chosen(methods: Iterable[str] | None) -> list[str]:
    chosen = list(METHODS) if methods is None else list(dict.fromkeys(methods))
    if unknown := [name for name in chosen if name not in METHODS]:
        raise InvalidInputError(f"unknown methods {unknown}; there are {list(METHODS)}")
    return chosen


def write_results(results: Results, path: str | os.PathLike[str]) -> None:
    """Write results as JSON, whole or not at all; figures keep every bit.

    Args:
        results: as ``evaluate_files`` gives them.
        path: the file.
    """
    write_text_atomically(path, json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
