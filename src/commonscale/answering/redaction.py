"""Keeping keys and passwords out of messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

_HIDDEN = "[hidden]"
_SHORTEST = 8  # shorter ones would tear up ordinary words
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
# What keys of the great providers look like, also partly masked; and what stands before others.
_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|nvapi|pplx)[-_][\w*.-]{6,}|\bAIza[\w-]{10,}"
    r"|(?<=[Bb]earer )[^\s()]+|(?<=://)[^/\s@]+(?=@)|(?<=[?&]key=)[^&\s]+"
)


def hidden(message: str, secrets: Iterable[str] = ()) -> str:
    """Take secrets out of a message.

    Args:
        message: what is to be shown.
        secrets: known ones; those in environment variables (``..._KEY``, ``..._TOKEN``, ...) and whatever looks like
            a key or a password in a URL go too.

    Returns:
        The message with ``[hidden]`` in their places.
    """
    known = {*secrets, *(value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper()))}
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            message = message.replace(secret, _HIDDEN)
    return _SHAPES.sub(_HIDDEN, message)


def secrets_in(values: Iterable[Any]) -> tuple[str, ...]:
    """Give the texts of those values that are wrapped as secrets."""
    wrapped = (getattr(value, "get_secret_value", None) for value in values)
    found = (reveal() for reveal in wrapped if callable(reveal))
    return tuple(text for text in found if isinstance(text, str) and text)
