"""What texts and pictures cost in tokens, as the providers count."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from commonscale.core.errors import InvalidInputError
from commonscale.prompting.items import PreparedPicture

PictureCost: TypeAlias = Callable[[int, int], int]
"""From width and height in pixels to tokens."""

FLAT = 2125
"""What LlamaIndex counts for any picture."""


def flat(width: int, height: int) -> int:
    """Count the same for every picture."""
    del width, height
    return FLAT


PICTURE_RULES: Mapping[str, PictureCost] = MappingProxyType({"flat": flat})
"""What a picture costs, by provider."""

_CHARACTERS_PER_TOKEN = 4


def count_text(text: str) -> int:
    """Estimate the tokens of a text: one for every four characters of UTF-8, rounded up."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / _CHARACTERS_PER_TOKEN)


def picture_cost(rule: str | int | PictureCost) -> Callable[[PreparedPicture], int]:
    """Make the function that says what a prepared picture costs.

    Args:
        rule: the name of a rule, a number of tokens, or a function of width and height.

    Returns:
        A function from a picture to its tokens. A picture that is sent as a URL has no known size: under a rule of
        size it counts as ``FLAT``.

    Raises:
        InvalidInputError: if the name is not known, or the number negative.
    """
    if isinstance(rule, bool) or (isinstance(rule, int) and rule < 0):
        raise InvalidInputError(f"image_tokens must be a rule's name, a number >= 0 or a function, got {rule!r}")
    if isinstance(rule, int):
        tokens = rule
        return lambda _: tokens
    if isinstance(rule, str):
        if rule not in PICTURE_RULES:
            raise InvalidInputError(f"no rule for image tokens is named {rule!r}; there are {sorted(PICTURE_RULES)}")
        rule = PICTURE_RULES[rule]
    if not callable(rule):
        raise InvalidInputError(f"image_tokens must be a rule's name, a number >= 0 or a function, got {rule!r}")
    counted = rule
    return lambda p: FLAT if p.width is None or p.height is None else counted(p.width, p.height)
