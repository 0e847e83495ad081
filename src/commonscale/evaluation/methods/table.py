"""The methods that a benchmark compares: a table of names and of functions that rank.

To add a method, write a function from a benchmark and a depth to one ranking per question, and give it a row in
``METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from commonscale.core.types import IMAGE, TEXT, Modality, Ranking
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.methods import background, fusion, hubness, library, quantile


def _has_questions(benchmark: Benchmark) -> bool:
    return len(benchmark.calibration_questions) > 0


def _has_labels(benchmark: Benchmark) -> bool:
    """Tell whether labeled pairs cover every modality that has documents."""
    pairs = benchmark.calibration_relevant
    filled = {modality for modality, vectors in benchmark.documents.items() if len(vectors)}
    return pairs is not None and filled <= set(pairs.modalities.tolist())


def _always(_: Benchmark) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Method:
    """One way to rank a benchmark's documents.

    Attributes:
        rank: from a benchmark and a depth to the best ``depth`` documents of every question.
        applies: whether a benchmark has what the method needs; where it has not, the method is left out.
        ceiling_of: the modality this is the ceiling of: no method that keeps the order within a modality ranks the
            relevant documents of that modality higher. None for methods that rank all documents.
    """

    rank: Callable[[Benchmark, int], list[Ranking]]
    applies: Callable[[Benchmark], bool] = _always
    ceiling_of: Modality | None = None


METHODS: dict[str, Method] = {
    "cosine": Method(library.cosine),
    "labeled": Method(library.labeled, applies=_has_labels),
    "standardized": Method(library.standardized, applies=_has_questions),
    "centered": Method(library.centered, applies=_has_questions),
    "centered+standardized": Method(library.centered_standardized, applies=_has_questions),
    "chance": Method(library.chance, applies=_has_questions),
    "background": Method(background.background),
    "gumbel": Method(background.gumbel),
    "quantile": Method(quantile.quantile, applies=_has_questions),
    "csls+standardized": Method(hubness.csls, applies=_has_questions),
    "qbnorm+standardized": Method(hubness.qbnorm, applies=_has_questions),
    "rrf": Method(fusion.rrf),
    "minmax": Method(fusion.minmax),
    "dbsf": Method(fusion.dbsf),
    "text-only": Method(library.text_only, ceiling_of=TEXT),
    "image-only": Method(library.image_only, ceiling_of=IMAGE),
}
"""Every method by name, in the order of the tables."""
