"""Finding the files of a published data set; where one is missing, saying which, and where it is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commonscale.core.errors import MissingDataError


@dataclass(frozen=True, slots=True)
class Publication:
    """Where a data set is published.

    Attributes:
        name: what it is called.
        url: the page that its files are linked from.
        advice: what to do there.
    """

    name: str
    url: str
    advice: str


def find_file(folder: Path, names: Sequence[str], publication: Publication, what: str) -> Path:
    """Find a file under any of its names, in a folder or one level below it.

    Args:
        folder: where to look.
        names: the published name first.
        publication: where it comes from.
        what: what it holds, for the message.

    Raises:
        MissingDataError: if it is not there.
    """
    found = seek(folder, names)
    if found is None:
        raise MissingDataError(missing(folder, names, publication, what))
    return found


def seek(folder: Path, names: Sequence[str]) -> Path | None:
    """Find a file or folder under any of its names, in a folder or one level below it; None if it is not there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return next((path / name for name in names for path in below if (path / name).exists()), None)


def missing(folder: Path, names: Sequence[str], publication: Publication, what: str) -> str:
    """Say which file is missing, what for, and where it is published."""
    there = f"{folder}: holds no {names[0]}" if folder.is_dir() else f"{folder}: no such folder, so no {names[0]} in it"
    others = f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
    return (
        f"{there}{others}, which holds {what} of {publication.name}; it is published at {publication.url}: "
        f"{publication.advice}"
    )
