"""The arguments of ``commonscale diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device, Encoder


@command
def diagnose(
    targets: Annotated[list[Path], typer.Argument(metavar="DIR|FILE.npz...", exists=True)],
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Questions, as for calibrate.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where data, figures and the page go.")
    ] = Path("commonscale-diagnosis"),
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many first hits to look at.")] = 10,
    documents: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most documents to take distributions from.")
    ] = 50_000,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of every sample.")] = 0,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Show the gap between texts and images, what a common scale changes, and how many questions it needs.

    Takes benchmarks (as evaluate does), and indexes or what the embed command wrote, with questions as users ask them
    (--questions); an index that has been calibrated knows some. Nothing that is diagnosed is changed.

    Prints the distances of texts, images and questions, the shape of their scores, what fills the first hits, and in
    words whether standardizing helps: with labels by how much on held-out questions, without what can be said. Writes
    diagnosis.json, report.html and PNG figures; docs/diagnostics.md explains them.
    """
    from commonscale.cli.diagnose_command import Settings, diagnose_all

    diagnose_all(targets, questions, out, Settings(k, documents, seed), encoder, device)
