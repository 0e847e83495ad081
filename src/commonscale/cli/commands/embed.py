"""The arguments of ``commonscale embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device


@command
def embed(
    corpus: Annotated[Path, typer.Argument(metavar="INPUT", exists=True, help="A folder, or Parquet files.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where the shards are kept.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="NAME_OR_PATH", help="Hub id or folder of the encoder.")],
    device: Device = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Items per forward pass.")] = None,
    partition_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Files or rows per part; default 1000, or as begun.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Several are actors on Ray.")] = 1,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster: local, auto, or host:port.")
    ] = None,
    num_gpus: Annotated[float, typer.Option(min=0, metavar="N", help="GPUs of each worker on Ray.")] = 0,
    text_column: Annotated[str | None, typer.Option(metavar="NAME", help="Texts in Parquet. Default: text.")] = None,
    image_column: Annotated[str | None, typer.Option(metavar="NAME", help="Pictures. Default: image.")] = None,
    id_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ids. Default: id, else file and row number.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Keep vectors here, for other corpora too.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what an earlier run could not embed.")
    ] = False,
) -> None:
    """Embed a large corpus into Parquet files, which index, calibrate and the vector stores load.

    INPUT is a folder of pictures and texts, read as index does; or a Parquet file, or a folder of them, with a column
    of texts, one of pictures (bytes, a struct of bytes and path, or a path relative to the file) or both. Other columns
    become metadata.

    Run it again at any time, also after a crash: parts that are written are kept, and only those are embedded whose
    files are new or have changed. Memory does not grow with the corpus. Items that cannot be embedded are listed at
    the end with the reason; all others are embedded.

    Exit codes: 0 all embedded; 1 error, nothing written is lost; 2 wrong usage; 3 some items were not embedded; 130
    interrupted.
    """
    from commonscale.cli.embed_command import Settings
    from commonscale.cli.embed_command import embed as run

    columns = (id_column, text_column, image_column)
    code = run(
        corpus,
        out,
        encoder,
        Settings(device, batch_size, partition_size, workers, ray, num_gpus, *columns, cache, retry_failed),
    )
    if code:
        raise typer.Exit(code)
