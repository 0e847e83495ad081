"""The arguments of ``commonscale search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device, Encoder, Index


@command
def search(
    directory: Index,
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="What to search for.")] = None,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Many questions, as for calibrate."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="PATH", exists=True, dir_okay=False, help="A picture that is the question."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many hits.")] = 10,
    raw: Annotated[bool, typer.Option("--raw", help="Rank by raw cosine; needs no calibration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line per question.")] = False,
    minimum: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY=N", help="At least N hits of a modality, as image=3.")
    ] = None,
    maximum: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY=N", help="At most N hits of a modality, as text=5.")
    ] = None,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Rank texts and pictures for a question on their common scale.

    A score orders texts and pictures together; the higher, the better. What it is depends on the method that the
    index was calibrated with (see calibrate --help). "standardized" and "centered+standardized": how many standard
    deviations a hit lies above the best hit of an average question. "chance": how far it lies above the best that
    irrelevant documents would nominally reach; most scores are negative, and only their order counts. "centered": the
    cosine that is left once the average question and document are subtracted.

    --json prints one object per question and line: {"question": text (a picture's path), "ranked_by": "score" or
    "cosine", "hits": [{"rank": from 1, "id": text, "modality": "text" or "image", "score": number, null with --raw,
    "cosine": number, "path": where the file is, "text": the passage, "" for a picture}, ...]}. Warnings go to stderr.
    """
    from commonscale.cli import search_command as cmd
    from commonscale.cli.questions import read_questions

    if sum(given is not None for given in (question, questions, image)) != 1:
        raise typer.BadParameter(
            "give one question, a file of them with --questions, or a picture with --image", param_hint="QUESTION"
        )
    if question is not None and not question.strip():
        raise typer.BadParameter("the question is empty; say what to search for", param_hint="QUESTION")
    limits = cmd.parse_quotas(minimum or [], "--minimum"), cmd.parse_quotas(maximum or [], "--maximum")
    asked = read_questions(questions) if questions else [question] if question else []
    images = [image] if image else []
    rankings = cmd.search(directory, asked, cmd.Settings(k, raw, *limits), encoder, device, images)
    for text, ranking in zip([*asked, *map(str, images)], rankings, strict=True):
        if as_json:
            typer.echo(cmd.as_json(text, ranking, raw))
        else:
            cmd.print_ranking(text, ranking, raw)
