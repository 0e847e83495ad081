"""The arguments of ``commonscale demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command, output


@command
def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Where the pictures, the index and the page go.")
    ] = Path("commonscale-demo"),
) -> None:
    """Index, calibrate and search a small drawn world, and show the difference on a page."""
    from commonscale.demo import run

    run(out, console=output())
