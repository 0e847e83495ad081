"""The arguments of ``commonscale app``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device, Encoder, Index

PASSWORD = "COMMONSCALE_APP_PASSWORD"  # noqa: S105 (the name of a variable)


@command
def app(
    directory: Index,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="What to be bound to; 0.0.0.0 for everybody.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help="Default: the first free one from 7860.")
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help=f"Ask for a password to protect the page with; or set {PASSWORD}.")
    ] = False,
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm",
            metavar="PROVIDER:MODEL",
            envvar="COMMONSCALE_LLM",
            help="The language model; demo for that of the demonstration. Default: what the index names, else none.",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="COMMONSCALE_BASE_URL", help="A server of your own to find the model at."),
    ] = None,
    images: Annotated[int, typer.Option(min=0, metavar="N", help="Most pictures to send.")] = 8,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", exists=True, file_okay=False, help="Show pictures of this folder too; again for more."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long an answer may take.")] = 120,
    parallel: Annotated[int, typer.Option(min=1, max=32, metavar="N", help="Answers at once; more wait in line.")] = 16,
    save_calibration: Annotated[
        bool, typer.Option("--save-calibration", help="Let users change the scale for everybody, and write it.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Serve a page in the browser that answers questions from an index.

    Answers come word by word, and cite; the documents stand beside them with their scores, and with the ranking by raw
    cosine for comparison. --llm is as for ask; without a language model the page finds documents only.

    Only this machine reaches the page, unless --host says otherwise. The password is never an argument, which others
    on the machine could read: it is asked for, or taken from the environment variable. Nothing but the page and the
    pictures of the index is served, and the page fetches nothing from elsewhere.

    A scale that a user learns from pasted questions is for that user alone; with --save-calibration it can also be
    given to everybody, and is then written beside the index.
    """
    from commonscale.cli.app_command import Address, Settings, serve

    secret = os.environ.get(PASSWORD) or None
    if password and secret is None:
        secret = typer.prompt("Password of the page", hide_input=True, confirmation_prompt=True)
    settings = Settings(llm, base_url, timeout, images, parallel, save_calibration, tuple(pictures or ()))
    serve(directory, Address(host, port), settings, secret, encoder, device, browse=open_browser)
