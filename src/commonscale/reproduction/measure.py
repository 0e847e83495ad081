"""Scoring methods one by one: each result is kept on disk, so that a run that was killed goes on with the next one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.extras import require
from commonscale.core.files import write_text_atomically
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, Modality, Ranking
from commonscale.diagnostics.intervals import mean_interval
from commonscale.evaluation import METHODS, evaluate_questions
from commonscale.evaluation.metrics import DEPTH
from commonscale.reproduction.material import Material

PAPER = ("cosine", "labeled", "standardized")
"""The paper's three methods, by our names."""

OURS = ("centered", "centered+standardized", "chance")
"""Methods of this library that the paper has not."""

CEILINGS = ("text-only", "image-only")
COMPARED = "mrr@20"
"""The figure that intervals are given for."""

_TOP = 20
Figures = dict[str, Any]


def measure(material: Material, folder: Path, *, progress: bool = False) -> dict[str, Figures]:
    """Score the paper's methods, ours, and both ceilings.

    Args:
        material: questions, documents and labels.
        folder: where the result of each method is kept; one of other material is computed anew.
        progress: show a progress bar on stderr.

    Returns:
        By method: ``means`` (``{"text" | "image": {figure: value}}``, recall as the fraction of the relevant documents
        that are found, and ``hit@20``, the share of questions for which any is), ``images`` (share of pictures among
        the first 20) and ``values`` (per question).

    Raises:
        MissingExtraError: if ir-measures is not installed.
    """
    scored: dict[str, Figures] = {}
    with require("tqdm", "encoders").tqdm(
        total=len(PAPER + OURS + CEILINGS), desc="Methods", unit="method", disable=not progress
    ) as bar:
        for name in PAPER + OURS + CEILINGS:
            rank = _ranker(name, material)
            if rank is not None:
                scored[name] = _kept(folder / f"{name.replace('+', '-')}.json", material, rank)
            bar.update(1)
    return scored


def compare(scored: Mapping[str, Figures], method: str, base: str) -> dict[Modality, dict[str, float]]:
    """Give the difference of two methods in MRR@20, with its 95% paired bootstrap interval, by kind of question."""
    found: dict[Modality, dict[str, float]] = {}
    for modality, values in scored[method]["values"].items():
        differences = np.array(values) - np.array(scored[base]["values"][modality])
        estimate = mean_interval(differences)
        found[modality] = {"difference": estimate.value, "low": estimate.low, "high": estimate.high}
    return found


def _ranker(name: str, material: Material) -> Callable[[], Sequence[Ranking]] | None:
    if name == "labeled":
        # From the pairs themselves: a smaller pool need not hold all documents that labels name.
        kinds = {modality for modality, vectors in material.benchmark.documents.items() if len(vectors)}
        return (lambda: _labeled(material)) if kinds <= set(material.labeled.modalities.tolist()) else None
    method = METHODS[name]
    return (lambda: method.rank(material.benchmark, DEPTH)) if method.applies(material.benchmark) else None


def _labeled(material: Material) -> Sequence[Ranking]:
    search = JointSearch(material.benchmark.sources)
    search.calibration = Calibration.from_labeled_pairs(material.labeled.cosines, material.labeled.modalities)
    return search.search_batch(material.benchmark.asked, DEPTH)


def _kept(path: Path, material: Material, rank: Callable[[], Sequence[Ranking]]) -> Figures:
    if path.exists():
        known: Figures = json.loads(path.read_text("utf-8"))
        if known["digest"] == material.digest:
            return known
    rankings = rank()
    scored = evaluate_questions(material.benchmark, rankings)
    figures: Figures = {"digest": material.digest, "questions": {}, "means": {}, "images": {}, "values": {}}
    for modality, result in scored.items():
        rows = result.questions.tolist()
        hits = (result.values["recall@20"] > 0).mean()
        images = [np.mean([hit.modality == IMAGE for hit in rankings[row][:_TOP]]) for row in rows]
        figures["questions"][modality] = len(rows)
        figures["means"][modality] = {**result.means(), "hit@20": float(hits)}
        figures["images"][modality] = float(np.mean(images))
        figures["values"][modality] = result.values[COMPARED].tolist()
    write_text_atomically(path, json.dumps(figures, allow_nan=False) + "\n")
    return figures
