"""Where the pictures of a data set are: a folder or a zip archive; and reading those that are cut short."""

from __future__ import annotations

import io
import threading
import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from commonscale.core.errors import FileFormatError, ImageError
from commonscale.core.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image

    from commonscale.encoders.images import ImageInput

_CUT = threading.Lock()


class PictureStore(Protocol):
    """The pictures of a data set, by name."""

    def open(self, name: str) -> ImageInput:
        """Give one picture as encoders take it: a path, or the bytes of its file.

        Raises:
            ImageError: if there is none of that name.
        """
        ...


class FolderPictures:
    """Pictures in a folder.

    A name is looked for as a relative path, then as a file name anywhere below, then without its extension: published
    paths sometimes carry another folder or another extension than the file that was published.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name: str) -> Path:
        """Give the path of a picture; see ``PictureStore``."""
        direct = self.folder / name
        if name and direct.is_file():
            return direct
        return self.folder / _found(name, self._by_name, self._by_stem, self.folder)

    @cached_property
    def _by_name(self) -> dict[str, str]:
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.name: str(path.relative_to(self.folder)) for path in files}

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        return {PurePosixPath(name).stem: place for name, place in self._by_name.items()}


class ZipPictures:
    """Pictures in a zip archive, found by the same rules as in a folder; nothing is unpacked to disk.

    Attributes:
        path: the archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def open(self, name: str) -> bytes:
        """Give the bytes of a picture's file; see ``PictureStore``."""
        member = name if name in self._members else _found(name, self._by_name, self._by_stem, self.path)
        try:
            with self._lock:
                return self._archive.read(member)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise ImageError(f"{self.path}: its member {member!r} cannot be read: {error}") from error

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise FileFormatError(f"{self.path}: no zip archive, or cut short ({error}); get it again") from error

    @cached_property
    def _members(self) -> set[str]:
        return {name for name in self._archive.namelist() if not name.endswith("/")}

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {PurePosixPath(member).name: member for member in sorted(self._members)}

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        return {PurePosixPath(name).stem: member for name, member in self._by_name.items()}


def _found(name: str, by_name: dict[str, str], by_stem: dict[str, str], where: Path) -> str:
    file = PurePosixPath(name.replace("\\", "/"))
    place = by_name.get(file.name) or by_stem.get(file.stem)
    if place is None:
        raise ImageError(f"{where}: holds no picture {name!r}")
    return place


def load_cut_image(source: ImageInput) -> Image:
    """Read a picture whose file is cut short, the missing part gray, as WebQA's own reader does.

    Args:
        source: a path, or the bytes of its file.

    Raises:
        ImageError: if it cannot be read for another reason.
    """
    from commonscale.encoders import load_image

    module: Any = require("PIL.ImageFile", "encoders")
    # Pillow has one switch for all: held only as long as this picture takes.
    with _CUT:
        before = module.LOAD_TRUNCATED_IMAGES
        module.LOAD_TRUNCATED_IMAGES = True
        try:
            return load_image(io.BytesIO(source) if isinstance(source, bytes) else source)
        finally:
            module.LOAD_TRUNCATED_IMAGES = before
