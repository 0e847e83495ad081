"""The ``commonscale`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from commonscale.core.errors import MissingExtraError
from commonscale.core.extras import require


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    Args:
        arguments: what follows the command's name; None takes them from the command line.

    Raises:
        SystemExit: always. 0: done; 1: an error, told on stderr; 2: wrong usage; 3: ``index`` or ``embed``
            could not read some files; 130: interrupted by Ctrl-C.
    """
    try:
        for package in ("typer", "rich"):
            require(package, "cli")
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    from commonscale.cli.app import app

    app(args=None if arguments is None else list(arguments), prog_name="commonscale")
