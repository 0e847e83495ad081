"""The ``commonscale`` command and what it is made of."""

from __future__ import annotations

from typing import Annotated

import typer

import commonscale
from commonscale.cli.commands.app import app as serve
from commonscale.cli.commands.ask import ask
from commonscale.cli.commands.calibrate import calibrate
from commonscale.cli.commands.demo import demo
from commonscale.cli.commands.diagnose import diagnose
from commonscale.cli.commands.embed import embed
from commonscale.cli.commands.evaluate import evaluate
from commonscale.cli.commands.index import index
from commonscale.cli.commands.reproduce import reproduce
from commonscale.cli.commands.search import search
from commonscale.cli.console import output

app = typer.Typer(
    help="Text and images in one honest ranking.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        output().print(f"commonscale {commonscale.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Text and images in one honest ranking."""


# In the order in which the help lists them.
app.command("index", short_help="Index a folder, or bring its index up to date.")(index)
app.command("embed", short_help="Embed a large corpus into Parquet files.")(embed)
app.command("calibrate", short_help="Learn the common scale from questions.")(calibrate)
app.command("search")(search)
app.command("ask", short_help="Answer a question from what is found.")(ask)
app.command("app", short_help="Serve a page in the browser that answers.")(serve)
app.command("evaluate", short_help="Score every method on benchmarks.")(evaluate)
app.command("reproduce", short_help="Run the papers' experiments on their data.")(reproduce)
app.command("diagnose", short_help="Show the gap, and what a common scale does about it.")(diagnose)
app.command("demo", short_help="Index, calibrate and search a drawn world.")(demo)
