"""What the commands say and how: results on stdout, everything else on stderr, errors in one message."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from commonscale.core.errors import CommonscaleError, CommonscaleWarning

P = ParamSpec("P")
T = TypeVar("T")

PIPE_WIDTH = 120


def output() -> Console:
    """Give the console of results; in a file or a pipe, which has no width, tables are not squeezed into 80."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def say(message: str, style: str = "") -> None:
    """Tell the user something that is no result, on stderr, as it is: no markup, no wrapping."""
    Console(stderr=True, highlight=False).print(Text(printable(message, keep="\n"), style), soft_wrap=True)


def warn(message: str) -> None:
    """Warn the user on stderr."""
    say(f"warning: {message}", "yellow")


def printable(text: str, keep: str = "") -> str:
    """Replace what a terminal would obey or cannot show (escapes, lone surrogates) with a question mark."""
    return "".join(sign if sign.isprintable() or sign in keep else "\N{REPLACEMENT CHARACTER}" for sign in text)


def command(function: Callable[P, T]) -> Callable[P, T]:
    """Make errors that are the user's to mend one message and exit code 1, without a traceback."""

    @functools.wraps(function)
    def wrapped(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            with _warnings_as_messages():
                return function(*arguments, **named)
        except BrokenPipeError:
            raise
        except (CommonscaleError, OSError) as error:
            say(f"error: {error}", "red")
            raise typer.Exit(1) from error

    return wrapped


@contextmanager
def _warnings_as_messages() -> Iterator[None]:
    """Show Commonscale's warnings as messages, without source lines, and repeat none."""
    shown: set[str] = set()
    with warnings.catch_warnings():
        original = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: object, **named: object) -> None:
            if not issubclass(category, CommonscaleWarning):
                original(message, category, *rest, **named)  # type: ignore[arg-type]
            elif str(message) not in shown:
                shown.add(str(message))
                warn(str(message))

        warnings.showwarning = show
        warnings.simplefilter("always", CommonscaleWarning)
        yield
