"""Timing contenders in turn, so that a noisy machine disturbs all of them alike, and comparing them as ratios."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A ratio to report: the time of ``ours`` over that of ``theirs``, and what it should be at most."""

    ours: str
    theirs: str
    goal: float


@dataclass(frozen=True)
class Scenario:
    """Contenders that answer the same questions over the same stores.

    Attributes:
        name: what is searched.
        contenders: by name, a function of the number of the question.
        comparisons: the ratios to report.
        repetitions: how many times each contender runs.
    """

    name: str
    contenders: dict[str, Callable[[int], object]]
    comparisons: Sequence[Comparison]
    repetitions: int


@dataclass(frozen=True)
class Outcome:
    """One ratio, measured.

    Attributes:
        scenario: what was searched.
        ours: our contender.
        theirs: the other one.
        our_ms: median time of ours, in milliseconds.
        their_ms: median time of the other.
        ratio: median over the repetitions of the ratio within one repetition.
        lower: lower quartile of these ratios.
        upper: upper quartile.
        repetitions: how many there were.
        goal: what the ratio should be at most.
    """

    scenario: str
    ours: str
    theirs: str
    our_ms: float
    their_ms: float
    ratio: float
    lower: float
    upper: float
    repetitions: int
    goal: float


def measure(scenario: Scenario) -> list[Outcome]:
    """Time all contenders (see ``timed``) and compare them.

    Every repetition asks one question of all of them, so a ratio compares neighbors in time.
    """
    times = timed(scenario)
    return [_compare(scenario, comparison, times) for comparison in scenario.comparisons]


def timed(scenario: Scenario) -> dict[str, Seconds]:
    """Run all contenders in turn (A B C, B C A, C A B, ...).

    Two unmeasured repetitions come first. Collections of garbage happen between repetitions, not within.

    Returns:
        By contender, the time of each repetition.
    """
    names = list(scenario.contenders)
    times: dict[str, Seconds] = {name: np.empty(scenario.repetitions) for name in names}
    for name in names * 2:
        scenario.contenders[name](0)
    gc.collect()
    gc.disable()
    try:
        for repetition in range(scenario.repetitions):
            first = repetition % len(names)
            for name in names[first:] + names[:first]:
                run = scenario.contenders[name]
                start = time.perf_counter()
                run(repetition)
                times[name][repetition] = time.perf_counter() - start
            if repetition % 20 == 19:
                gc.collect()
    finally:
        gc.enable()
    return times


def _compare(scenario: Scenario, comparison: Comparison, times: dict[str, Seconds]) -> Outcome:
    ours, theirs = times[comparison.ours], times[comparison.theirs]
    lower, ratio, upper = (float(value) for value in np.quantile(ours / theirs, (0.25, 0.5, 0.75)))
    our_ms, their_ms = (float(np.median(values)) * 1e3 for values in (ours, theirs))
    return Outcome(
        scenario.name,
        comparison.ours,
        comparison.theirs,
        our_ms,
        their_ms,
        ratio,
        lower,
        upper,
        scenario.repetitions,
        comparison.goal,
    )


def report(settings: Any, outcomes: Sequence[Outcome], console: Console, path: Path | None) -> None:
    """Print outcomes as a table and, if a path is given, write settings and outcomes as JSON."""
    table = Table(caption="ratio: median of ours / theirs over the repetitions, with quartiles", caption_justify="left")
    for heading in ("searched", "ours", "compared with"):
        table.add_column(heading)
    for heading in ("ours ms", "theirs ms", "ratio", "runs", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        met = "met" if outcome.ratio <= outcome.goal else "missed"
        table.add_row(
            *(outcome.scenario, outcome.ours, outcome.theirs, f"{outcome.our_ms:.2f}", f"{outcome.their_ms:.2f}"),
            f"{outcome.ratio:.3f} [{outcome.lower:.3f}, {outcome.upper:.3f}]",
            str(outcome.repetitions),
            f"<= {outcome.goal:.2f} {met}",
        )
    console.print(table)
    if path is not None:
        facts = settings if isinstance(settings, dict) else asdict(settings)
        content = {"settings": facts, "outcomes": [asdict(outcome) for outcome in outcomes]}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
