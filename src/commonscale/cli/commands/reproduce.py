"""The arguments of ``commonscale reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device


@command
def reproduce(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="mmqa, webqa or mixbench.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", file_okay=False, help="The published files.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="NAME_OR_PATH", help="Hub id or folder of the encoder.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where vectors, numbers and the report go.")
    ] = Path("commonscale-reproduction"),
    device: Device = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Items per forward pass.")] = None,
    pool: Annotated[
        str, typer.Option(metavar="POOL", help="full, as in the paper; or context: documents shown beside a question.")
    ] = "full",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most questions of each kind, to try it out.")
    ] = None,
    training: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most training questions of each kind, to save time.")
    ] = None,
    documents: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most documents of each kind beside the relevant ones.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="PATH", help="MultiModalQA's pictures, if not beside its files.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what an earlier run could not embed.")
    ] = False,
) -> None:
    """Run the papers' experiments: Tables 3 to 6 and Figures 4, 5, 6 and 14 with the published numbers beside yours.

    DIR holds the files as they are published; where some are missing, the message names all, and where to get them.
    Writes report.html, report.json, PNG figures, and the benchmark as .npz for the evaluate command. All runs that
    go to one --out share a report.

    Run it again at any time, also after a crash: what is embedded and scored is kept.
    """
    from commonscale.cli.reproduce_command import Settings, run
    from commonscale.reproduction import Sizes

    sizes = Sizes(pool, limit, training, documents)  # type: ignore[arg-type]
    run(dataset, data, out, encoder, sizes, Settings(device, batch_size, pictures, retry_failed))
