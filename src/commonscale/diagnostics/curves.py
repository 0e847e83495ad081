"""The learning curves of a material, by method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from commonscale.core.methods import CHANCE, STANDARDIZED
from commonscale.core.questions import QuestionBank
from commonscale.core.types import Floats, Question
from commonscale.diagnostics.draws import generator
from commonscale.diagnostics.folds import Split
from commonscale.diagnostics.learning import SIZES, Drawn, LearningCurve, build_curve, draw_standardized
from commonscale.diagnostics.learning_chance import draw_chance
from commonscale.diagnostics.material import Material, Sample

RANKED = 300
"""Most questions that are ranked under every drawn bank."""

LEAST = 20
"""Fewest questions that a learning curve is drawn from."""

FARTHEST = 1000
"""Largest bank that is drawn by resampling: beyond, the curve is extended."""

RELEARNED = 500
"""Largest bank that chance-level calibration is learned from again and again."""

DOCUMENTS = 4000
"""Documents of all modalities that chance-level calibration is learned from again and again."""


def measure_curves(material: Material, plan: Split, methods: Sequence[str], k: int) -> dict[str, LearningCurve]:
    """Draw the learning curve of each method.

    Args:
        material: the questions and documents.
        plan: which questions are asked.
        methods: the methods.
        k: how many first hits to look at.

    Returns:
        Curves by method; a method that the bank is too small for has none, and there are none with one
        modality only, where nothing has to be compared.
    """
    curves: dict[str, LearningCurve] = {}
    if len(material.modalities) < 2:
        return curves
    if STANDARDIZED in methods and len(material.bank) >= LEAST and plan.halves is not None:
        sizes = [size for size in SIZES if size <= FARTHEST]
        curves[STANDARDIZED] = build_curve(material.modalities, sizes, _standardized(material, plan, k))
    sizes = [size for size in SIZES if size <= min(RELEARNED, len(material.bank) // 2)]
    if CHANCE in methods and sizes:
        curves[CHANCE] = build_curve(material.modalities, sizes, _chance(material, plan, k), levels_off=True)
    return curves


def _standardized(material: Material, plan: Split, k: int) -> Callable[[int], Drawn]:
    bank = QuestionBank.fit(material.bank, material.sources)
    best = np.stack([hits.cosines for hits in bank.best.values()], axis=1)
    asked = _some(plan.questions, material.seed)
    hits = np.stack([_highest(material, modality, asked, k) for modality in material.modalities], axis=1)
    return draw_standardized(best, hits, k, material.seed)


def _highest(material: Material, modality: str, asked: Sequence[Question], k: int) -> Floats:
    found = np.full((len(asked), k), -np.inf)
    for row, candidates in enumerate(material.sources[modality].search(asked, k)):
        found[row, : len(candidates.cosines)] = candidates.cosines
    return found


def _chance(material: Material, plan: Split, k: int) -> Callable[[int], Drawn]:
    asked = _some(plan.questions, material.seed)
    share = min(1.0, DOCUMENTS / sum(len(some) for some in material.sample.values()))
    sample = {m: _part(some, share, material.seed) for m, some in material.sample.items()}
    return draw_chance(material.bank, asked, sample, material.counts, k, material.seed)


def _some(questions: Sequence[Question], seed: int) -> list[Question]:
    order = generator(seed, "ranked").permutation(len(questions))[:RANKED]
    return [questions[at] for at in np.sort(order)]


def _part(some: Sample, share: float, seed: int) -> Sample:
    count = min(len(some), max(2, round(share * len(some))))
    rows = np.sort(generator(seed, "relearned").permutation(len(some))[:count])
    return Sample([some.ids[row] for row in rows], some.vectors[rows])
