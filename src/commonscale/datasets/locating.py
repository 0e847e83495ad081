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


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a data set.

    Attributes:
        names: what it may be called, the published name first.
        what: what it holds, for the message.
    """

    names: tuple[str, ...]
    what: str


def find_files(folder: Path, wanted: Sequence[Wanted], publication: Publication) -> list[Path]:
    """Find several files in a folder or one level below it.

    Args:
        folder: where to look.
        wanted: the files.
        publication: where they come from.

    Raises:
        MissingDataError: naming all that are not there.
    """
    found = [(one, seek(folder, one.names)) for one in wanted]
    lacking = [one for one, path in found if path is None]
    if lacking:
        raise lacking_files(folder, lacking, publication)
    return [path for _, path in found if path is not None]


def lacking_files(folder: Path, lacking: Sequence[Wanted], publication: Publication) -> MissingDataError:
    """Make the error that names all files that are missing, at least one."""
    if len(lacking) == 1:
        return MissingDataError(missing(folder, lacking[0].names, publication, lacking[0].what))
    named = "; ".join(f"{' or '.join(one.names)} ({one.what})" for one in lacking)
    there = "" if folder.is_dir() else "no such folder, so "
    return MissingDataError(
        f"{folder}: {there}{len(lacking)} files of {publication.name} are not there: {named}; they are published at "
        f"{publication.url}: {publication.advice}"
    )


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
