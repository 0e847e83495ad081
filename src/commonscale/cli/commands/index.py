"""The arguments of ``commonscale index``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device, Encoder


@command
def index(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="What to index.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where the index is kept.")],
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Index the pictures and texts of a folder, or bring its index up to date.

    Reads jpg, jpeg, png, gif, webp, bmp, tif, tiff and txt, md, markdown files, in all subfolders; hidden files
    are passed over, symbolic links are not followed. Texts are UTF-8 (or UTF-16 with a byte order mark); long
    ones are cut into passages that the encoder reads whole. A document's id is its path relative to FOLDER,
    with #1, #2, ... for the passages of a long text. If FOLDER holds what the embed command wrote, that is loaded
    instead, and nothing is embedded.

    Run it again at any time: only files that are new or whose content has changed are embedded, and files that
    have vanished are removed. Ctrl-C saves what is done; the same command then goes on from there.

    Unreadable files are listed at the end with the reason; all others are indexed.

    Exit codes: 0 all indexed; 1 error, nothing saved is lost; 2 wrong usage; 3 some files were unreadable; 130
    interrupted.
    """
    from commonscale.cli.index_command import index_folder

    code = index_folder(folder, out, encoder, device)
    if code:
        raise typer.Exit(code)
