"""What an encoder accepts as texts and as pictures."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.image_sources import describe


def listed_texts(texts: Iterable[Any], method: str) -> list[Any]:
    """Return the members of a sequence of texts; they are not looked at yet.

    Raises:
        InvalidInputError: if a single string is given, or no sequence.
    """
    if isinstance(texts, (str, bytes)):
        raise InvalidInputError(f"{method}() needs a list of strings, got one: {texts[:60]!r}. Put it into a list.")
    try:
        members = iter(texts)
    except TypeError:
        raise InvalidInputError(
            f"{method}() needs a list of strings, got {type(texts).__name__}: {repr(texts)[:60]}"
        ) from None
    return list(members)


def check_text(text: object, method: str, index: int) -> str:
    """Return a text that can be embedded.

    Raises:
        InvalidInputError: if it is not a string, or holds half a surrogate pair, which no tokenizer reads.
    """
    if not isinstance(text, str):
        raise InvalidInputError(
            f"{method}() needs strings; item {index} is of type {type(text).__name__}: {repr(text)[:60]}"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{method}(): item {index} is no valid Unicode ({error.reason} at character {error.start}): "
            f"{repr(text)[:60]}. Decode it with the right encoding, or with errors='replace'."
        ) from error
    return text


def checked_counts(counts: Any, texts: int) -> list[int]:
    """Return what a function that counts tokens gave, if it is one whole number for each text.

    Raises:
        InvalidInputError: if it is anything else.
    """
    try:
        found = [operator.index(count) for count in counts]
    except TypeError as error:
        raise InvalidInputError(f"count_tokens must give a list of whole numbers: {error}") from error
    if len(found) != texts:
        raise InvalidInputError(
            f"count_tokens gave {len(found)} numbers for {texts} texts; it is given a list, and one for each is needed"
        )
    return found


def listed_images(images: Sequence[Any], method: str) -> list[Any]:
    """Return the members of a sequence of pictures; they are not looked at yet.

    Raises:
        InvalidInputError: if a single picture is given, or a folder of them.
    """
    # Not Path.is_dir(): a base64 string is too long for a name, which that raises.
    if isinstance(images, (str, os.PathLike)) and os.path.isdir(images):  # noqa: PTH112
        raise InvalidInputError(
            f"{method}() needs a list of pictures, got a folder: {describe(images)}. Give the files in it, such as "
            f"sorted(Path({os.fspath(images)!r}).iterdir())."
        )
    single = isinstance(images, (str, bytes, bytearray, memoryview)) or hasattr(images, "read")
    if single or not hasattr(images, "__iter__"):
        raise InvalidInputError(
            f"{method}() needs a list of pictures, got one: {describe(images)}. Put it into a list."
        )
    return list(images)


def which(what: str, index: int, count: int, name: str) -> str:
    """Name an item of a call for a message; one that is alone needs no number.

    Args:
        what: ``"text"`` or ``"image"``.
        index: its place.
        count: how many were given.
        name: what it is, in a few words.
    """
    return f"{what.capitalize()} {name}" if count == 1 else f"{what.capitalize()} {index}, {name}"
