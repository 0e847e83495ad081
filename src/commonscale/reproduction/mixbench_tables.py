"""MixBench's table: NDCG@10 of every subset, as the authors compute it and as it is defined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commonscale.datasets import SUBSETS
from commonscale.diagnostics.report import Table
from commonscale.reproduction.published import MIXBENCH_MODELS, published
from commonscale.reproduction.results import Run, stands_for
from commonscale.reproduction.tables import BETWEEN, NONE

_METHODS = {
    "cosine": "cosine",
    "centered": "GR-CLIP",
    "standardized": "standardized *",
    "centered+standardized": "centered+standardized *",
    "chance": "chance *",
}
AS_PUBLISHED, STANDARD = "ndcg@10 as published", "ndcg@10"


def mixbench_table(runs: Sequence[Run]) -> Table:
    """NDCG@10 by subset and method: what the paper's figure shows, and both of ours."""
    of_sets = [run for run in runs if run.dataset == "mixbench"]
    names = [*MIXBENCH_MODELS, *sorted({run.model for run in of_sets} - set(MIXBENCH_MODELS))]
    rows = []
    for model in names:
        run = stands_for(of_sets, "mixbench", model)
        for method, label in _METHODS.items():
            if run is not None or not label.endswith("*"):
                rows.append([model, label, *_cells(model, method, run)])
    return Table(
        ["model", "method", *SUBSETS, "average"],
        rows,
        "MixBench: NDCG@10",
        "Each cell: read off the paper's figure (to about .01) / ours as its script computes it, with the ideal "
        "ranking of the retrieved documents alone / ours as it is defined. * marks methods that the paper has not.",
    )


def _cells(model: str, method: str, run: Run | None) -> list[str]:
    theirs = published()["mixbench"].get(model, {})
    ours: dict[str, Any] = {} if run is None else dict(run.numbers["subsets"])
    columns: list[list[float | None]] = []
    for subset in SUBSETS:
        found = ours.get(subset, {"methods": {}})["methods"].get(method, {})
        columns.append([theirs.get(subset, {}).get(method), found.get(AS_PUBLISHED), found.get(STANDARD)])
    columns.append([_mean([column[part] for column in columns]) for part in range(3)])
    return [BETWEEN.join(NONE if value is None else f"{value:.3f}" for value in column) for column in columns]


def _mean(values: Sequence[float | None]) -> float | None:
    """Average all subsets; None if one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
