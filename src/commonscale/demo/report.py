"""What the demonstration prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commonscale.core.extras import require
from commonscale.core.types import IMAGE, TEXT, Hit, Modality
from commonscale.demo.answering import READ
from commonscale.demo.answers import ALL, ROWS, WAYS, AnswerTable, answer_verdict
from commonscale.demo.facts import KINDS as KINDS_OF_FACTS
from commonscale.demo.measure import METHODS, SHOWN_METRICS, Gap, Table
from commonscale.demo.wording import describe
from commonscale.demo.world import Entry, World

if TYPE_CHECKING:
    from rich.console import Console

    from commonscale.demo.results import Example

FOOTNOTE = (
    "“One modality alone” searches only the kind of document that holds the answer: a ceiling, since standardizing "
    "never changes the order within a modality. Recall@k is the share of the relevant documents among the first k; "
    "a scene may have up to three passages."
)
KINDS = {TEXT: "answer is a passage", IMAGE: "answer is a picture"}
ANSWERS_TITLE = "How often a small vision-language model answers right"
ANSWERS_FOOTNOTE = (
    f"Each question leaves one fact of a scene out and asks for it, such as “How many blue umbrellas are there above "
    f"three purple fish on sand?”. The model reads the first {READ} hits one by one and takes its most confident "
    f"answer; not to answer counts as wrong. “Right item given” hands it one item that shows the scene: what it could "
    f"do if retrieval never failed."
)


def print_gap(console: Console, gap: Gap) -> None:
    """Print the modality gap in one paragraph."""
    console.print(
        f"[bold]Modality gap:[/] the mean passage and the mean picture are {gap.distance:.2f} apart. A question's best "
        f"passage has on average a cosine of {gap.mean(TEXT):.2f}, its best picture one of {gap.mean(IMAGE):.2f}, "
        f"whether it is the answer or not.\n"
    )


def print_scores(console: Console, table: Table) -> None:
    """Print the table of metrics, and in words what text questions lost."""
    rich_table = require("rich.table", "cli").Table(title="Where the answer is ranked", title_justify="left")
    rich_table.add_column("questions whose")
    rich_table.add_column("method")
    for metric in SHOWN_METRICS:
        rich_table.add_column(heading(metric), justify="right")
    for modality, kind in KINDS.items():
        for method in METHODS:
            cells = [f"{table[method][modality][metric]:.3f}" for metric in SHOWN_METRICS]
            rich_table.add_row(kind if method == METHODS[0] else "", method, *cells, end_section=method == METHODS[-1])
    console.print(rich_table)
    console.print(f"{verdict(table)}\n{FOOTNOTE}\n")


def print_answers(console: Console, table: AnswerTable) -> None:
    """Print how often answers were right, by what holds the answer and what was asked for."""
    rich_table = require("rich.table", "cli").Table(title=ANSWERS_TITLE, title_justify="left")
    rich_table.add_column("questions whose")
    rich_table.add_column("asked for")
    for name in ("questions", *WAYS):
        rich_table.add_column(name, justify="right")
    for modality, kind in ROWS:
        first, last = kind == KINDS_OF_FACTS[0] or modality == ALL, kind == ALL
        whose = KINDS.get(modality, "all questions") if first else ""
        rich_table.add_row(whose, kind, *answer_cells(table, modality, kind), end_section=last)
    console.print(rich_table)
    console.print(f"{answer_verdict(table)}\n{ANSWERS_FOOTNOTE}\n")


def answer_cells(table: AnswerTable, modality: Modality, kind: str) -> list[str]:
    """Give one row of the table of answers: how many questions, and the share of right answers in each way."""
    shares = [f"{table.accuracy(way, modality, kind):.3f}" for way in WAYS]
    return [str(len(table.chosen(modality, kind))), *shares]


def heading(metric: str) -> str:
    """Give a metric's usual name: ``recall@5`` as ``Recall@5``, ``mrr@20`` as ``MRR@20``."""
    name, _, depth = metric.partition("@")
    return f"{name.upper() if name == 'mrr' else name.capitalize()}@{depth}"


def verdict(table: Table) -> str:
    """Say what standardizing won and what it cost, in recall among the first 20."""
    raw, standardized = (table[method] for method in METHODS[:2])
    won = standardized[IMAGE]["recall@20"] - raw[IMAGE]["recall@20"]
    # Of the rounded figures, so that the sentence agrees with the table above it.
    changed = round(standardized[TEXT]["mrr@20"], 3) - round(raw[TEXT]["mrr@20"], 3)
    cost = "lost" if changed < 0 else "won"
    return (
        f"Standardizing raised the Recall@20 of picture questions by {won:.3f}; "
        f"passage questions {cost} {abs(changed):.3f} of MRR@20 to pictures that now stand above passages."
    )


def print_question(console: Console, world: World, example: Example) -> None:
    """Print one question with its first hits before and after."""
    table = require("rich.table", "cli").Table(title=f"“{example.entry.question}”", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("by raw cosine", ratio=1)
    table.add_column("standardized", ratio=1)
    for rank, (before, after) in enumerate(zip(example.before, example.after, strict=True), start=1):
        shown = f"cosine {before.cosine:.2f}", f"{after.score:+.2f} (cosine {after.cosine:.2f})"
        cells = [_cell(world, example.entry, hit, number) for hit, number in zip((before, after), shown, strict=True)]
        table.add_row(str(rank), *cells)
    console.print(table)
    console.print()


def _cell(world: World, entry: Entry, hit: Hit, number: str) -> str:
    what = hit.payload.text if hit.modality == TEXT else f"picture of {describe(world.scene_of(hit.id))}"
    return f"[bold green]✓ {number}: {what}[/]" if hit.id in entry.documents else f"{number}: {what}"
