"""Results as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commonscale.core.extras import require
from commonscale.core.types import Modality
from commonscale.evaluation.evaluate import Results, Scores
from commonscale.evaluation.methods import METHODS
from commonscale.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_REACHED = "recall@20"
"""The metric whose share of the ceiling is shown."""


def print_table(results: Results, console: Console) -> None:
    """Print one table per file: a row for each method and modality of question.

    The last column is the method's recall@20 as a share of the ceiling: of what ranking that modality alone gives.

    Args:
        results: as ``evaluate_files`` gives them.
        console: where to print.

    Raises:
        MissingExtraError: if rich is not installed.
    """
    for name, scores in results.items():
        console.print(_table(name, scores))


def _table(name: str, scores: Scores) -> Table:
    table: Table = require("rich.table", "cli").Table(
        title=require("rich.text", "cli").Text(name), title_justify="left", caption_justify="left"
    )
    table.add_column("questions")
    table.add_column("method", no_wrap=True)
    for metric in (*METRICS, "of ceiling"):
        table.add_column(metric, justify="right", no_wrap=True)
    modalities = list(dict.fromkeys(modality for by_modality in scores.values() for modality in by_modality))
    for modality in modalities:
        ceiling = _ceiling(scores, modality)
        for method, by_modality in scores.items():
            if METHODS[method].ceiling_of in (None, modality):
                figures = by_modality[modality]
                reached = f"{figures[_REACHED] / ceiling:.0%}" if ceiling else "-"
                table.add_row(modality, method, *(f"{figures[metric]:.3f}" for metric in METRICS), reached)
        table.add_section()
    return table


def _ceiling(scores: Scores, modality: Modality) -> float:
    for method, by_modality in scores.items():
        if METHODS[method].ceiling_of == modality:
            return by_modality[modality][_REACHED]
    return 0.0
