"""The diagnosis in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commonscale.core.extras import require
from commonscale.core.methods import COSINE
from commonscale.diagnostics.diagnosis import Diagnosis
from commonscale.diagnostics.gains import ALL
from commonscale.diagnostics.tables import gap_rows, optional
from commonscale.diagnostics.words import group_name, plural, signed, verdict, who_asks

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print the distances, what each method does to the first hits, and the verdict.

    Args:
        diagnosis: the diagnosis.
        console: where to print.

    Raises:
        MissingExtraError: if rich is not installed.
    """
    documents = ", ".join(f"{number:,} {plural(modality)}" for modality, number in diagnosis.documents.items())
    title = require("rich.text", "cli").Text(diagnosis.name, style="bold")
    title.append(f": {documents}; {who_asks(diagnosis)}", "not bold")
    console.print(title)
    console.print("Distance of means: " + ", ".join(f"{one}-{other} {far}" for one, other, far in gap_rows(diagnosis)))
    console.print(_shapes(diagnosis))
    console.print(_methods(diagnosis))
    said = require("rich.table", "cli").Table.grid(padding=(0, 1))
    for sentence in verdict(diagnosis):
        said.add_row("-", require("rich.text", "cli").Text(sentence))
    console.print(said)
    console.print()


def _shapes(diagnosis: Diagnosis) -> Table:
    table = _table("Scores by raw cosine", "modality")
    for heading in ("mean", "std", "best hit", "std", "skewness", "hubness", "never found"):
        table.add_column(heading, justify="right")
    for modality, shape in diagnosis.methods[COSINE].shapes.items():
        best = diagnosis.best[modality]
        figures = [f"{value:.3f}" for value in (shape.mean, shape.std, best.mean, best.std)]
        table.add_row(modality, *figures, optional(shape.skewness), optional(shape.hubness), f"{shape.never:.0%}")
    return table


def _methods(diagnosis: Diagnosis) -> Table:
    table = _table(f"The first {diagnosis.k} hits", "method")
    groups = list(next(iter(diagnosis.methods.values())).shares)
    shown = [group for group in groups if group != ALL] or groups
    quiet = diagnosis.quiet or diagnosis.modalities
    for group in shown:
        for modality in quiet:
            table.add_column(f"{plural(modality)}, {group_name(group)}", justify="right")
    table.add_column("changed", justify="right")
    main = None
    if diagnosis.gains:
        gains = next(iter(diagnosis.gains.values()))
        main = ALL if ALL in gains else next(iter(gains))
        table.add_column("MRR@20 against cosine", justify="right")
    for method, view in diagnosis.methods.items():
        cells = [f"{view.shares[group].hits[modality]:.0%}" for group in shown for modality in quiet]
        cells.append("" if method == COSINE else f"{view.changed:.0%}")
        if main is not None and diagnosis.gains:
            cells.append("" if method == COSINE else signed(diagnosis.gains[method][main]["mrr@20"].difference))
        table.add_row(method, *cells)
    return table


def _table(title: str, first: str) -> Table:
    table: Table = require("rich.table", "cli").Table(
        title=title,
        title_justify="left",
        box=require("rich.box", "cli").SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column(first, no_wrap=True)
    return table
