"""``commonscale ask``: an answer from what is found, with its sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from commonscale.answering import Answer, Finished, Limits, Piece, QuestionAnswering, answerer_for
from commonscale.answering.opening import picture_rule
from commonscale.cli.console import output, printable, say
from commonscale.core.ranking import Quotas
from commonscale.core.types import Modality
from commonscale.index.opening import open_filled_index
from commonscale.index.scale import check_calibrated
from commonscale.index.searching import search_over
from commonscale.prompting import Budget, Prompt, PromptItem, SentItem

_EXCERPT = 160  # characters of a passage that the table of sources shows


@dataclass(frozen=True)
class Model:
    """Which language model to ask.

    Attributes:
        name: ``PROVIDER:MODEL``; None for what the index names.
        base_url: where a server of one's own is.
        timeout: seconds that an answer may take.
    """

    name: str | None
    base_url: str | None
    timeout: float


@dataclass(frozen=True)
class Settings:
    """What to look for, and what to send of it.

    Attributes:
        k: how many documents to look for.
        raw: by raw cosine, without calibration.
        images: most pictures to send.
        tokens: most tokens to send; None for no limit.
        minimum: look for at least this many of a modality.
        maximum: look for at most this many.
        folders: where pictures may be read from, beside the folder that was indexed.
    """

    k: int = 20
    raw: bool = False
    images: int = 8
    tokens: int | None = None
    minimum: Mapping[Modality, int] = field(default_factory=dict)
    maximum: Mapping[Modality, int] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @property
    def quotas(self) -> Quotas:
        """Least and most of a modality."""
        return Quotas(self.minimum, self.maximum)


def open_answering(
    directory: Path, model: Model, settings: Settings, encoder: str | None, device: str | None
) -> QuestionAnswering:
    """Open an index and its language model; what is quick to check comes first.

    Raises:
        NotCalibratedError: if there is no calibration, and ``raw`` is not asked for.
        AnswererError: if the language model cannot be used.
        CommonscaleError: if the index or the encoder cannot be used.
    """
    index = open_filled_index(directory, mmap=True)
    limits = Limits(first=model.timeout, total=model.timeout)
    answerer = answerer_for(model.name, index.notes, base_url=model.base_url, limits=limits)
    budget = Budget(images=settings.images, tokens=settings.tokens, image_tokens=picture_rule(answerer.name))
    opened = search_over(index, encoder=encoder, device=device, calibrated=not settings.raw)
    if not settings.raw:
        check_calibrated(directory, opened.search.calibration, words=True, pictures=False)
    return QuestionAnswering.over(opened, answerer, budget=budget, folders=settings.folders, k=settings.k)


def answer(question: str, answering: QuestionAnswering, settings: Settings) -> None:
    """Print an answer as it comes, then its sources."""
    begun = False
    try:
        for event in answering.stream(question, raw=settings.raw, quotas=settings.quotas):
            if isinstance(event, Piece):
                begun = True
                typer.echo(printable(event.text, keep="\n\t"), nl=False)
            elif isinstance(event, Finished):
                typer.echo()
                begun = False
                _print_sources(event.answer, settings.raw)
    finally:
        if begun:  # what comes next, an error or the prompt of the shell, begins a line of its own
            typer.echo()


def _print_sources(found: Answer, raw: bool) -> None:
    prompt = found.prompt
    if not found.citations.cited:
        say(f"The answer cites none of the {len(prompt.sent)} documents that were sent.")
    if found.citations.cited or found.citations.unknown:
        output().print(_table(found, raw))
    if found.citations.unknown:
        say(f"Made up by the model, as no such document was sent: {_brackets(found.citations.unknown)}.", "yellow")
    if prompt.left_out:
        say(_describe_left_out(prompt))


def _table(found: Answer, raw: bool) -> Table:
    table = Table()
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("modality", no_wrap=True)
    for name in ("score", "cosine"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("document", overflow="fold")
    table.add_column("file, or words", overflow="fold")
    for citation in found.citations.cited:
        item = citation.item
        score = "-" if raw or item.score is None else f"{item.score:+.3f}"
        cosine = "-" if item.cosine is None else f"{item.cosine:.4f}"
        label, modality = Text(f"[{citation.number}]"), Text(printable(item.modality))
        document, shown = Text(printable(item.id), "bold"), Text(printable(_path(item) or _excerpt(item)))
        table.add_row(label, modality, score, cosine, document, shown)
    for number in found.citations.unknown:
        table.add_row(Text(f"[{number}]"), "-", "-", "-", Text("not sent", "yellow"), "-")
    return table


def _describe_left_out(prompt: Prompt) -> str:
    """Say how many were left out, and why, once for each reason."""
    details: dict[str, list[str]] = {}
    for left in prompt.left_out:
        details.setdefault(left.reason.value, []).append(left.detail)
    total = len(prompt.left_out) + len(prompt.sent)
    lines = [f"Not sent: {len(prompt.left_out)} of the {total} documents that were found."]
    for reason, told in details.items():
        more = " (the first of them)" if len(set(told)) > 1 else ""
        lines.append(f"  {len(told)} for {reason}: {told[0]}{more}")
    return "\n".join(lines)


def as_json(question: str, answering: QuestionAnswering, settings: Settings) -> str:
    """Answer, and render everything as one line of JSON (see the help of the command)."""
    found = answering.ask(question, raw=settings.raw, quotas=settings.quotas)
    cited = {citation.number for citation in found.citations.cited}
    return json.dumps(
        {
            "question": question,
            "llm": answering.answerer.name,
            "ranked_by": "cosine" if settings.raw else "score",
            "answer": found.text,
            "sources": [_source(sent, sent.number in cited, settings.raw) for sent in found.prompt.sent],
            "cited_but_not_sent": list(found.citations.unknown),
            "left_out": [
                {
                    "id": left.item.id,
                    "modality": left.item.modality,
                    "reason": left.reason.value,
                    "detail": left.detail,
                }
                for left in found.prompt.left_out
            ],
            "tokens": found.prompt.tokens,
        }
    )


def _source(sent: SentItem, cited: bool, raw: bool) -> dict[str, object]:
    item = sent.item
    return {
        "number": sent.number,
        "id": item.id,
        "modality": item.modality,
        "score": None if raw else item.score,
        "cosine": item.cosine,
        "path": _path(item),
        "text": sent.text,
        "picture": sent.picture is not None,
        "tokens": sent.tokens,
        "cited": cited,
    }


def _excerpt(item: PromptItem) -> str:
    words = " ".join(item.text.split())
    return f"{words[:_EXCERPT]}{'...' if len(words) > _EXCERPT else ''}" or "-"


def _path(item: PromptItem) -> str | None:
    path: str | None = item.payload.path
    return path


def _brackets(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"[{number}]" for number in numbers)
