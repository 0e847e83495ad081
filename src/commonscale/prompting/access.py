"""Which files may be read, and reading them so that nothing else is.

A document's metadata may be written by strangers, so a path in it is a wish and no more. A file is read only if,
after every ``..`` and symbolic link is resolved, it lies inside a folder that the user named. The way that was
checked is then walked folder by folder without following links any more, so that a link put there between
the look and the opening leads nowhere. A hard link cannot be told from a file of its own; who can make one inside
the folder could read the file anyhow.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.core.unreadable import is_of_a_picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

# Those of another system are 0. A pipe does not hold up who opens it without waiting.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_CLOEXEC", 0)

CAN_WALK = os.open in os.supports_dir_fd and bool(_NOFOLLOW)
"""Whether the system opens a file by a folder that is open already; Windows does not."""


class Folders:
    """The folders whose files may be read."""

    def __init__(self, folders: Iterable[str | os.PathLike[str]] = ()) -> None:
        """Resolve the folders, once.

        Args:
            folders: paths, or one path; none: no file may be read.

        Raises:
            InvalidInputError: if one is no folder.
        """
        named = [folders] if isinstance(folders, (str, os.PathLike)) else list(folders)
        self._folders = tuple(_resolved_folder(folder) for folder in named)

    def open(self, path: str | os.PathLike[str]) -> IO[bytes]:
        """Open a file for reading, if it may be read.

        Args:
            path: absolute, or relative to one of the folders (tried in their order), or else to the working folder.

        Returns:
            The file, a regular one, which is the caller's to close.

        Raises:
            ImageError: if it lies outside the folders, is not there, or is no regular file; the message does
                not repeat the path.
            OSError: if the machine, not the file, is the trouble: too many open files, for example.
        """
        if not self._folders:
            raise ImageError(
                "no file may be read, because no folder was named; allow the pictures' folder with "
                "Pictures(folders=[...])"
            )
        with _explained():
            return os.fdopen(self._opened(os.fsdecode(path)), "rb")

    def _opened(self, name: str) -> int:
        if not name or "\0" in name:
            raise ImageError("the path has a null character" if name else "the path is empty")
        inside = False
        if not on_other_drive(name, self._folders):
            for start in [Path()] if Path(name).is_absolute() else [*self._folders, Path()]:
                path = Path(os.path.realpath(start / name))  # Path.resolve raises at a circle of links
                folder = next((folder for folder in self._folders if path.is_relative_to(folder)), None)
                if folder is not None and os.path.lexists(path):
                    return open_walking(path, folder) if CAN_WALK else open_and_look(path, folder)
                inside = inside or folder is not None
        if inside:
            raise ImageError(f"no such file in the folders that may be read ({self})")
        raise ImageError(
            f"lies outside the folders that may be read ({self}); if it is to be sent, allow its folder with "
            "Pictures(folders=[...])"
        )

    def __str__(self) -> str:
        return ", ".join(repr(str(folder)) for folder in self._folders)


def _resolved_folder(folder: object) -> Path:
    if not isinstance(folder, (str, os.PathLike)) or not os.fspath(folder):
        raise InvalidInputError(f"folders must be paths of folders, got {folder!r}")
    path = Path(os.path.realpath(os.fsdecode(folder)))
    if not path.is_dir():
        raise InvalidInputError(f"folders must be paths of folders that exist, got {folder!r}")
    return path


def on_other_drive(name: str, folders: Iterable[os.PathLike[str]], system: ModuleType = os.path) -> bool:
    r"""Tell whether a path names a drive, or another machine, that none of the folders is on.

    This is asked before anything else: on Windows even a look at ``\\host\share`` asks a strange machine, with
    the user's credentials. Elsewhere no path names a drive.

    Args:
        name: the path.
        folders: those that may be read.
        system: the rules for paths, ``ntpath`` or ``posixpath``.
    """
    drive = system.splitdrive(name)[0].lower()
    return bool(drive) and all(system.splitdrive(os.fspath(folder))[0].lower() != drive for folder in folders)


def open_walking(path: Path, folder: Path) -> int:
    """Open a file by walking down from a folder, through no link.

    Args:
        path: resolved, inside the folder.
        folder: resolved.

    Returns:
        The descriptor of a regular file.

    Raises:
        ImageError: if it is no regular file.
        OSError: if the file cannot be opened, or if a link was met.
    """
    *above, last = path.relative_to(folder).parts or (".",)
    here = os.open(folder, _FOLDER)
    try:
        for name in above:
            below = os.open(name, _FOLDER | _NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        # Looked at first, because merely opening some devices does something.
        _check_regular(os.stat(last, dir_fd=here, follow_symlinks=False))
        return _regular(os.open(last, _FLAGS | _NOFOLLOW, dir_fd=here))
    finally:
        os.close(here)


def open_and_look(path: Path, folder: Path) -> int:
    """Do the same as :func:`open_walking` where the system has no way to: open, then look whether it is that file."""
    _check_regular(os.lstat(path))
    descriptor = _regular(os.open(path, _FLAGS | _NOFOLLOW))
    if Path(os.path.realpath(path)) == path and os.path.samestat(os.lstat(path), os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise ImageError(f"was moved out of {str(folder)!r} while it was opened")


def _regular(descriptor: int) -> int:
    try:
        _check_regular(os.fstat(descriptor))
    except ImageError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ImageError("is a folder, not a picture file")
    if not stat.S_ISREG(found.st_mode):
        raise ImageError("is a device, pipe or link, not a picture file")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"cannot be opened: {error}") from error
    except OSError as error:
        if not is_of_a_picture(error):
            raise
        raise ImageError(f"cannot be opened: {error.strerror or error}") from error
