"""Comparing methods question by question: differences and ratios with their 95% intervals."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from commonscale.core.files import write_text_atomically
from commonscale.core.types import IMAGE, TEXT, Floats, Modality
from commonscale.evaluation import bootstrap
from commonscale.evaluation.bootstrap import Interval, interval
from commonscale.evaluation.evaluate import MethodValues
from commonscale.evaluation.methods import METHODS

BASELINES = ("standardized", "cosine")
"""What every method is compared with."""

COMPARED = ("mrr@20", "recall@20")
"""The metrics that are compared."""

REFERENCES: Mapping[Modality, str] = {TEXT: "cosine", IMAGE: "image-only"}
"""What a method's MRR@20 is divided by in the balance: what text questions have without any calibration (a modality gap
keeps the images out of their way), and what image questions would have without any text."""

_BALANCED = COMPARED[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Methods of one benchmark, compared.

    Attributes:
        questions: how many questions there are of each modality.
        differences: ``[modality][baseline][method][metric]``: what the method has more than the baseline. Ceilings are
            compared in their own modality only.
        balance: ``[method]["text" | "image" | "smaller" | "smaller minus standardized"]``: MRR@20 divided by the
            reference of each modality (see ``REFERENCES``), and the smaller of the two ratios. Empty unless there
            are questions of both kinds, and both references.
    """

    questions: dict[Modality, int]
    differences: dict[Modality, dict[str, dict[str, dict[str, Interval]]]]
    balance: dict[str, dict[str, Interval]]


def compare(values: MethodValues) -> Comparison:
    """Compare every method with the baselines, on the same resamples of the questions.

    Each interval holds by itself with 95%; among many, some miss.

    Args:
        values: the metrics of every question, by method, as ``score_methods`` gives them.

    Returns:
        The comparison; baselines that were not scored are absent from it.
    """
    if not values:
        return Comparison({}, {}, {})
    means = _Means(values)
    differences: dict[Modality, dict[str, dict[str, dict[str, Interval]]]] = {}
    for modality in means.questions:
        for baseline in (name for name in BASELINES if name in values):
            differences.setdefault(modality, {})[baseline] = {
                method: {metric: means.difference(modality, metric, method, baseline) for metric in COMPARED}
                for method in values
                if method != baseline and METHODS[method].ceiling_of in (None, modality)
            }
    return Comparison(means.questions, differences, _balance(means, values))


def compare_files(values: Mapping[str, MethodValues]) -> dict[str, Comparison]:
    """Compare methods on each of several benchmarks; see ``compare``."""
    return {name: compare(methods) for name, methods in values.items()}


def write_comparisons(comparisons: Mapping[str, Comparison], path: str | os.PathLike[str]) -> None:
    """Write comparisons as JSON, whole or not at all.

    Args:
        comparisons: by file.
        path: the file to write; ``docs/evaluation.md`` describes it.
    """
    content = {
        "level": bootstrap.LEVEL,
        "resamples": bootstrap.RESAMPLES,
        "seed": bootstrap.SEED,
        "files": {name: asdict(comparison) for name, comparison in comparisons.items()},
    }
    write_text_atomically(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class _Means:
    """The mean of every metric and method, on all questions and on resamples of them."""

    def __init__(self, values: MethodValues) -> None:
        first = next(iter(values.values()))
        self.questions = {modality: len(scored.questions) for modality, scored in first.items()}
        names = [(method, metric) for method in values for metric in COMPARED]
        self._places = {name: place for place, name in enumerate(names)}
        columns = {
            modality: np.stack([values[method][modality].values[metric] for method, metric in names], axis=1)
            for modality in first
        }
        self._all = {modality: scored.mean(axis=0) for modality, scored in columns.items()}
        self._resampled = bootstrap.resampled_means({m: scored.questions for m, scored in first.items()}, columns)

    def of(self, modality: Modality, metric: str, method: str) -> tuple[float, Floats | None]:
        """Give the mean on all questions and those on the resamples (B,)."""
        place = self._places[method, metric]
        resampled = self._resampled[modality]
        return float(self._all[modality][place]), None if resampled is None else resampled[:, place]

    def difference(self, modality: Modality, metric: str, method: str, baseline: str) -> Interval:
        (value, resampled), (other, others) = (self.of(modality, metric, name) for name in (method, baseline))
        return interval(value - other, None if resampled is None or others is None else resampled - others)


def _balance(means: _Means, values: MethodValues) -> dict[str, dict[str, Interval]]:
    """Divide each method's MRR@20 by the references, and take the smaller ratio."""
    if not set(REFERENCES) <= set(means.questions) or not set(REFERENCES.values()) <= set(values):
        return {}
    if not all(means.of(modality, _BALANCED, name)[0] for modality, name in REFERENCES.items()):
        return {}
    ratios = {method: _ratios(means, method) for method in values if METHODS[method].ceiling_of is None}
    smaller = {method: _smaller(by_modality.values()) for method, by_modality in ratios.items()}
    balance = {}
    for method, by_modality in ratios.items():
        balance[method] = {modality: interval(*ratio) for modality, ratio in by_modality.items()}
        balance[method]["smaller"] = interval(*smaller[method])
        if method != BASELINES[0] and BASELINES[0] in smaller:
            (value, resampled), (other, others) = smaller[method], smaller[BASELINES[0]]
            paired = None if resampled is None or others is None else resampled - others
            balance[method][f"smaller minus {BASELINES[0]}"] = interval(value - other, paired)
    return balance


def _ratios(means: _Means, method: str) -> dict[Modality, tuple[float, Floats | None]]:
    ratios: dict[Modality, tuple[float, Floats | None]] = {}
    for modality, reference in REFERENCES.items():
        (value, resampled), (whole, wholes) = (means.of(modality, _BALANCED, name) for name in (method, reference))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios[modality] = value / whole, None if resampled is None or wholes is None else resampled / wholes
    return ratios


def _smaller(ratios: Iterable[tuple[float, Floats | None]]) -> tuple[float, Floats | None]:
    values, resampled = zip(*ratios, strict=True)
    known = [ratio for ratio in resampled if ratio is not None]
    return min(values), np.minimum.reduce(known) if len(known) == len(resampled) else None
