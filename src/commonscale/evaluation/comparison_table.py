"""Comparisons as tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from commonscale.core.extras import require
from commonscale.core.types import Modality
from commonscale.evaluation.bootstrap import FEWEST, Interval
from commonscale.evaluation.compare import BASELINES, COMPARED, REFERENCES, Comparison
from commonscale.evaluation.methods import METHODS
from commonscale.evaluation.table import empty_table, heading

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH = 100
"""Most columns that are used."""

_STYLES = {1: "green", 0: "dim", -1: "red"}


def print_comparisons(comparisons: Mapping[str, Comparison], console: Console) -> None:
    """Print each file's differences and balance with their 95% intervals, at most ``WIDTH`` columns wide.

    Methods are called better or worse only where the whole interval lies on one side of zero; where too few questions
    give no interval, nothing is said of them.

    Args:
        comparisons: as ``compare_files`` gives them.
        console: where to print.

    Raises:
        MissingExtraError: if rich is not installed.
    """
    for name, comparison in comparisons.items():
        for modality, by_baseline in comparison.differences.items():
            if any(by_baseline.values()):
                count = comparison.questions[modality]
                known = " with 95% intervals" if _decidable(by_baseline) else ""
                title = f"{name}: {count} {modality} questions, differences{known}"
                console.print(_differences(title, by_baseline))
                for line in _verdicts(by_baseline):
                    console.print(line, width=min(WIDTH, console.width))
                console.print()
        if comparison.balance:
            console.print(_balance(f"{name}: MRR@20 as a share of what each kind of question could have", comparison))


def _differences(title: str, by_baseline: Mapping[str, Mapping[str, Mapping[str, Interval]]]) -> Table:
    table = empty_table(title, gap=0)
    columns = [(baseline, metric) for baseline in by_baseline for metric in COMPARED]
    for baseline, metric in columns:
        table.add_column(f"{heading(metric)}\n- {baseline}", justify="right")
    for method in dict.fromkeys(method for methods in by_baseline.values() for method in methods):
        cells = [by_baseline[baseline].get(method, {}).get(metric) for baseline, metric in columns]
        table.add_row(method, *("" if cell is None else _cell(cell, _signed) for cell in cells))
    return table


def _decidable(by_baseline: Mapping[str, Mapping[str, Mapping[str, Interval]]]) -> bool:
    """Tell whether there were enough questions for intervals."""
    figures = [figure for methods in by_baseline.values() for cells in methods.values() for figure in cells.values()]
    return any(figure.low is not None for figure in figures)


def _verdicts(by_baseline: Mapping[str, Mapping[str, Mapping[str, Interval]]]) -> list[Text]:
    """Say in words which methods are better and which are worse than the first baseline; ceilings are no methods."""
    if not _decidable(by_baseline):
        few = f"too few questions to tell methods apart: at least {FEWEST} are needed"
        return [require("rich.text", "cli").Text(few)]
    baseline, methods = next(iter(by_baseline.items()))
    metric = COMPARED[0]
    said = []
    for sign, word in ((1, "better than"), (-1, "worse than"), (0, "not told apart from")):
        compared = {name: figures[metric] for name, figures in methods.items() if METHODS[name].ceiling_of is None}
        names = [name for name, figure in compared.items() if figure.sign == sign]
        if names:
            said.append(require("rich.text", "cli").Text(f"{word} {baseline} ({heading(metric)}): {', '.join(names)}"))
    return said


def _balance(title: str, comparison: Comparison) -> Table:
    table = empty_table(title, gap=0)
    for modality, reference in REFERENCES.items():
        table.add_column(f"{modality}\n/ {reference}", justify="right")
    table.add_column("smaller\nof both", justify="right")
    table.add_column(f"smaller\n- {BASELINES[0]}'s", justify="right")
    for method, figures in comparison.balance.items():
        ratios: list[Modality] = [*REFERENCES, "smaller"]
        difference = figures.get(f"smaller minus {BASELINES[0]}")
        table.add_row(
            method,
            *(_cell(figures[name], _plain) for name in ratios),
            "" if difference is None else _cell(difference, _signed),
        )
    return table


def _cell(figure: Interval, show: Callable[[float], str]) -> Text:
    bounds = "" if figure.low is None or figure.high is None else f" {show(figure.low)}…{show(figure.high)}"
    style = _STYLES[figure.sign] if show is _signed else ""
    text: Text = require("rich.text", "cli").Text(f"{show(figure.value)}{bounds}", style)
    return text


def _signed(value: float) -> str:
    """Show a difference as ``+.055``; 1 and more keep their digit."""
    return _plain(value, "+")


def _plain(value: float, sign: str = "") -> str:
    shown = f"{value:{sign}.3f}"
    return shown.replace("0.", ".", 1) if abs(value) < 0.9995 else shown
