"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Encoder = Annotated[
    str | None,
    typer.Option("--encoder", metavar="NAME_OR_PATH", help="Hub id or folder of the encoder. Default: as recorded."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. Default: the best there is.")]
Index = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the index.", file_okay=False)]
