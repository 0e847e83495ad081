"""``commonscale search``: one ranking of texts and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from commonscale.cli.console import output, printable
from commonscale.core.search import JointSearch
from commonscale.core.types import TEXT, Hit, Modality, Question, Ranking
from commonscale.index import Document
from commonscale.index.opening import encoder_for, open_filled_index
from commonscale.index.scale import check_calibrated, load_calibration

_SNIPPET = 160  # characters of a passage that the table shows


@dataclass(frozen=True)
class Settings:
    """How to rank.

    Attributes:
        k: how many hits.
        raw: by raw cosine, without calibration.
        minimum: at least this many hits of a modality.
        maximum: at most this many.
    """

    k: int = 10
    raw: bool = False
    minimum: Mapping[Modality, int] = field(default_factory=dict)
    maximum: Mapping[Modality, int] = field(default_factory=dict)


def parse_quotas(values: Sequence[str], option: str) -> dict[Modality, int]:
    """Parse ``image=3``; the last one of a modality counts.

    Raises:
        typer.BadParameter: if a value is not of this form.
    """
    quotas = {}
    for value in values:
        modality, equals, count = value.rpartition("=")
        if not equals or not modality or not (count.isascii() and count.isdigit()):
            raise typer.BadParameter(
                f"{value!r} is not of the form MODALITY=NUMBER, such as image=3", param_hint=option
            )
        quotas[modality] = int(count)
    return quotas


def search(
    directory: Path,
    questions: Sequence[str],
    settings: Settings,
    encoder: str | None,
    device: str | None,
    images: Sequence[Path] = (),
) -> list[Ranking]:
    """Rank an index's documents for each question in words, then for each picture that is one.

    Raises:
        NotCalibratedError: if there is no calibration for such questions and ``raw`` is not asked for.
        ImageError: if a picture cannot be read.
        CommonscaleError: if the index, the calibration or the encoder cannot be used.
    """
    index = open_filled_index(directory, mmap=True)
    calibration = None if settings.raw else load_calibration(index)
    if not settings.raw:
        check_calibrated(directory, calibration, words=bool(questions), pictures=bool(images))
    joint = JointSearch(index.sources(), calibration, provenance=index.provenance())
    model = encoder_for(index, encoder, device)
    asked = [Question(t, v) for t, v in zip(questions, model.encode_questions(list(questions)), strict=True)]
    if images:
        asked += [Question(vector=vector, kind="image") for vector in model.encode_images(list(images))]
    return joint.search_batch(asked, settings.k, minimum=settings.minimum, maximum=settings.maximum, raw=settings.raw)


def as_json(question: str, ranking: Ranking, raw: bool) -> str:
    """Render a ranking as one line of JSON (see the help of the command)."""
    hits = [
        {
            "rank": rank,
            "id": hit.id,
            "modality": hit.modality,
            "score": None if raw else hit.score,
            "cosine": hit.cosine,
            "path": _document(hit).path,
            "text": _document(hit).text,
        }
        for rank, hit in enumerate(ranking, start=1)
    ]
    return json.dumps({"question": question, "ranked_by": "cosine" if raw else "score", "hits": hits})


def print_ranking(question: str, ranking: Ranking, raw: bool) -> None:
    """Print a ranking as a table."""
    table = Table(title=Text(printable(question)), title_justify="left")
    for name in ("rank", "score", "cosine"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("modality", no_wrap=True)
    table.add_column("document", overflow="fold")
    for rank, hit in enumerate(ranking, start=1):
        words = printable(" ".join(_document(hit).text.split()))
        shown = Text(printable(hit.id), "bold")
        file = _file(hit)
        if file not in ("", hit.id):
            shown.append(f"\n{printable(file)}", "not bold")
        if words:
            shown.append(f"\n{words[:_SNIPPET]}{'...' if len(words) > _SNIPPET else ''}", "not bold")
        score = "-" if raw else f"{hit.score:+.3f}"
        table.add_row(str(rank), score, f"{hit.cosine:.4f}", hit.modality, shown)
    output().print(table)


def _file(hit: Hit) -> str:
    """Say where a picture lies, from here if it is below; nothing for a passage, whose words say what it is."""
    path = _document(hit).path
    if path is None or hit.modality == TEXT:
        return ""
    return str(Path(path).relative_to(Path.cwd())) if Path(path).is_relative_to(Path.cwd()) else path


def _document(hit: Hit) -> Document:
    document: Document = hit.payload
    return document
