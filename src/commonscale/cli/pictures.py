"""Pictures that are questions: a folder of them, a list of paths, or one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.cli.console import say, warn
from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.core.types import IMAGE, Question
from commonscale.embedding.scan import KINDS

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder

_SHOWN = 5  # unreadable pictures that are named


def read_pictures(path: Path) -> list[Path]:
    """List pictures to ask with.

    Args:
        path: a folder, with all subfolders (hidden files are passed over); a picture; or a text file with one path per
            line, relative ones to its own folder.

    Returns:
        The pictures, at least one; a folder's in the order of their names.

    Raises:
        FileFormatError: if a list is not UTF-8.
        InvalidInputError: if there is none.
    """
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if _is_picture(file.relative_to(path)) and file.is_file())
        what = "no picture"
    elif _is_picture(Path(path.name)):
        return [path]
    else:
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{path}: not UTF-8: {error.reason} at byte {error.start}; convert it") from error
        found = [path.parent / line.strip() for line in lines if line.strip()]
        what = "no path"
    if not found:
        raise InvalidInputError(f"{path}: holds {what}; give a folder of pictures, or a list with one path per line")
    return found


def _is_picture(name: Path) -> bool:
    return KINDS.get(name.suffix.lower()) == IMAGE and not any(part.startswith(".") for part in name.parts)


def embed_pictures(pictures: Sequence[Path], model: BatchedEncoder) -> list[Question]:
    """Embed pictures that are questions; those that cannot be read are named in a warning and left out.

    Raises:
        InvalidInputError: if none can be read.
    """
    say(f"Embedding {len(pictures)} pictures ...")
    batch = model.encode_images_reporting(list(pictures))
    if batch.failures:
        named = "; ".join(f"{failure.description}: {failure.reason}" for failure in batch.failures[:_SHOWN])
        left = f"{len(batch.failures)} of {len(pictures)} pictures cannot be read ({named})"
        if not batch.kept:
            raise InvalidInputError(f"{left}; give pictures that can")
        warn(f"{left}; they are left out")
    return [Question(vector=vector, kind="image") for vector in batch.vectors]
