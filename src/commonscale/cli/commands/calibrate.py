"""The arguments of ``commonscale calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device, Encoder, Index
from commonscale.core.methods import AUTO, DEFAULT, UNLABELED


@command
def calibrate(
    directory: Index,
    questions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help='UTF-8, one question per line; or .jsonl with a field "question" in each line.',
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER_OR_LIST", exists=True, help="Pictures that are questions: a folder, or a list of paths."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"One of {', '.join((AUTO, *UNLABELED))}; see above. Default: that of the kind of questions that is "
            f"not given, if there is one, else {DEFAULT}.",
        ),
    ] = None,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Learn the common scale of texts and pictures from unlabeled questions.

    Give questions as users ask them, at least 30, better 100 or more; no answers or labels are needed. DIR is an
    index, or what the embed command wrote. Writes DIR/calibration.json and prints what was learned of texts and of
    pictures, with the method that was used.

    A cosine is how similar the encoder finds a question and a document, at most 1. Alone it says little: those of texts
    and those of pictures lie at different heights. The methods differ in what a cosine is compared with, for each kind
    of document. "chance": with the best that irrelevant documents would reach,
    judged by how similar the questions are to all documents. "standardized" (Yamashita et al. 2025): with the cosines
    of the questions' best hits. "centered" (GR-CLIP): with nothing, but the average question and the average document
    are subtracted before; "centered+standardized" does both. "auto" is "chance", and "standardized" where that does
    not suit: where similarities spread widely, or where there is one document of a kind only. docs/chance.md of the
    project has the figures.

    Pictures that are questions (search --image) have a scale of their own: give some with --images, as users ask with
    them, or a sample of the indexed ones; each one's own hit is left out of what is learned. If only --questions or
    only --images is given, the other kind keeps its scale, and its method is used for the given kind too. With
    --method, an index is calibrated anew with that method for both kinds, and the output says so; of what the embed
    command wrote, only the given kind is.
    """
    from commonscale.cli.calibrate_command import calibrate as run

    if questions is None and images is None:
        raise typer.BadParameter("give a file of questions, or pictures with --images", param_hint="--questions")
    run(directory, questions, images, method, encoder, device)
