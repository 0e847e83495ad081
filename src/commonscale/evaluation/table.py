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
    """Print one table per file and modality of question, at most 80 columns wide, with a row for each method.

    R is recall. The last column is the method's recall@20 as a share of the ceiling: of what ranking that modality
    alone gives.

    Args:
        results: as ``evaluate_files`` gives them.
        console: where to print.

    Raises:
        MissingExtraError: if rich is not installed.
    """
    for name, scores in results.items():
        for modality in dict.fromkeys(modality for by_modality in scores.values() for modality in by_modality):
            console.print(_table(f"{name}: {modality} questions", scores, modality))


def empty_table(title: str, gap: int = 1) -> Table:
    """Give a table with a column for the methods' names.

    Args:
        title: shown above it, as it is: brackets in a file's name are not read as markup.
        gap: blanks between columns, besides one.
    """
    table: Table = require("rich.table", "cli").Table(
        title=require("rich.text", "cli").Text(title),
        title_justify="left",
        box=require("rich.box", "cli").SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )
    table.add_column("method", no_wrap=True)
    return table


def heading(metric: str) -> str:
    """Shorten a metric's name for the head of a column."""
    return metric.replace("recall", "R").replace("mrr", "MRR").replace("ndcg", "nDCG")


def _table(title: str, scores: Scores, modality: Modality) -> Table:
    table = empty_table(title)
    for name in (*(heading(metric) for metric in METRICS), "of ceiling"):
        table.add_column(name, justify="right")
    ceiling = _ceiling(scores, modality)
    for method, by_modality in scores.items():
        if METHODS[method].ceiling_of in (None, modality):
            figures = by_modality[modality]
            reached = f"{figures[_REACHED] / ceiling:.0%}" if ceiling else "-"
            table.add_row(method, *(f"{figures[metric]:.3f}" for metric in METRICS), reached)
    return table


def _ceiling(scores: Scores, modality: Modality) -> float:
    for method, by_modality in scores.items():
        if METHODS[method].ceiling_of == modality:
            return by_modality[modality][_REACHED]
    return 0.0
