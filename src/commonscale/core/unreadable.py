"""Finding the pictures that cannot be read, where a model fails for a whole batch."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from commonscale.core.errors import ImageError, InputRefusedError, InvalidInputError

_OF_A_FILE = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENAMETOOLONG}
_OF_A_FILE |= {errno.EIO, errno.ELOOP}
"""What the file system says of a wrong path or a damaged file; anything else (too many open files, a lost connection)
is no picture's."""


class Readable(NamedTuple):
    """What came of a batch of pictures.

    Attributes:
        kept: places of those that could be embedded (n), ascending.
        vectors: one for each.
        failures: the place of every other one, ascending, with the error.
    """

    kept: list[int]
    vectors: list[Any]
    failures: list[tuple[int, Exception]]


def embed_readable(embed: Callable[[list[Any]], Any], pictures: Sequence[Any]) -> Readable:
    """Embed pictures and leave out those that cannot be read.

    Embedding models raise an error for a whole batch if one picture in it is damaged; the batch is then halved until
    that one stands alone.

    Args:
        embed: gives one vector for each picture of a list.
        pictures: any number.

    Returns:
        The vectors of those that can be read, and the others' errors.

    Raises:
        InvalidInputError: if the model gives more or fewer vectors than pictures.
        Exception: what the model raises, if it says nothing of a picture.
    """
    result = Readable([], [], [])
    _embed(embed, list(pictures), 0, result)
    return result


def _embed(embed: Callable[[list[Any]], Any], pictures: list[Any], start: int, result: Readable) -> None:
    try:
        found = list(embed(pictures))
    except Exception as error:
        if not is_of_a_picture(error):
            raise
        if len(pictures) == 1:
            result.failures.append((start, error))
            return
        half = len(pictures) // 2
        _embed(embed, pictures[:half], start, result)
        _embed(embed, pictures[half:], start + half, result)
        return
    if len(found) != len(pictures):
        raise InvalidInputError(f"the embedding model gave {len(found)} vectors for {len(pictures)} pictures")
    result.kept.extend(range(start, start + len(pictures)))
    result.vectors.extend(found)


def is_of_a_picture(error: Exception) -> bool:
    """Tell a picture that cannot be read from a model that fails: there are OSErrors for both."""
    if isinstance(error, OSError):
        own = type(error).__module__.partition(".")[0] in ("builtins", "PIL")
        lost = isinstance(error, (ConnectionError, TimeoutError))
        return own and not lost and (error.errno is None or error.errno in _OF_A_FILE)
    return isinstance(error, (ImageError, InputRefusedError))


def reason_of(error: Exception) -> str:
    """Say why a picture cannot be read, without its name and place: the place is that within a batch."""
    # Errors of Commonscale's encoders name place and picture first, and have the bare reason as their cause.
    if isinstance(error, ImageError):
        return str(error.__cause__ or error).strip()
    return f"{type(error).__name__}: {error}".strip()
