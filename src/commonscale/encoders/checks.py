"""What an encoder accepts as texts and as pictures."""

from __future__ import annotations

import operator
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
        InvalidInputError: if a single picture is given.
    """
    single = isinstance(images, (str, bytes, bytearray, memoryview)) or hasattr(images, "read")
    if single or not hasattr(images, "__iter__"):
        raise InvalidInputError(
            f"{method}() needs a list of pictures, got one: {describe(images)}. Put it into a list."
        )
    return list(images)
