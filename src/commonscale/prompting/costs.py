"""What texts and pictures cost in tokens: by a provider's rule, by a number, or by the user's own function."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

from commonscale.core.errors import InvalidInputError
from commonscale.prompting.items import PreparedPicture
from commonscale.prompting.picture_rules import Flat, PictureCost, PictureRule
from commonscale.prompting.picture_table import PICTURE_RULES

TextCost: TypeAlias = Callable[[str], "int | Sequence[Any]"]
"""From a text to how many tokens it has, or to the tokens themselves, such as tiktoken's ``encoding.encode``."""

_BYTES_PER_TOKEN = 4
_UNKNOWN = 2048  # the side that the user's own function is asked for if nobody knows the size
_TYPICAL = 512


def count_text(text: str) -> int:
    """Estimate the tokens of a text: one for every four bytes of UTF-8, rounded up.

    English prose has fewer tokens than that in current models; numbers, code and rare scripts can have more.
    """
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / _BYTES_PER_TOKEN)


def text_cost(count: TextCost) -> Callable[[str], int]:
    """Make a function that counts a text's tokens, and checks what the user's function gave.

    Args:
        count: the user's function, or ``count_text``.

    Raises:
        InvalidInputError: now, if it is no function; when called, if it gives neither a number >= 0 nor a list.
    """
    if not callable(count):
        raise InvalidInputError(f"text_tokens must be a function from a text to its tokens, got {count!r}")

    def counted(text: str) -> int:
        found = count(text)
        return len(found) if isinstance(found, (list, tuple)) else _whole(found, "text_tokens")

    return counted


@dataclass(frozen=True, slots=True)
class PictureCounter:
    """What pictures cost under one rule.

    Attributes:
        rule: from width and height to tokens.
        unknown: tokens of a picture of unknown size.
    """

    rule: PictureCost
    unknown: int

    def __call__(self, picture: PreparedPicture) -> int:
        """Give the tokens of a picture as it is sent."""
        if picture.width is None or picture.height is None:
            return self.unknown
        return _whole(self.rule(picture.width, picture.height), "image_tokens")

    @property
    def typical(self) -> int:
        """Tokens of a picture of middling size: not a limit, only what to reckon with before it is read."""
        return _whole(self.rule(_TYPICAL, _TYPICAL), "image_tokens")


def picture_cost(rule: str | int | PictureCost) -> PictureCounter:
    """Make the function that says what a prepared picture costs.

    A picture that is sent as an address has no known size. It counts as the dearest that the rule knows; under the
    user's own function, as a picture of 2048 x 2048.

    Args:
        rule: the name of a rule or of a model that has one, a number of tokens, or a function of width and height.

    Raises:
        InvalidInputError: if the name is not known, or the number negative. When called: if the function gives
            something else than a number >= 0.
    """
    if isinstance(rule, str):
        known = rule_of(rule)
        if known is None:
            raise InvalidInputError(
                f"no rule for image tokens is named {rule!r}; give one of {sorted(PICTURE_RULES)}, a number of tokens, "
                f"or a function of width and height"
            )
        rule = known
    if isinstance(rule, PictureRule):
        return PictureCounter(rule, _whole(rule.most, "image_tokens"))
    if callable(rule):
        return PictureCounter(rule, _whole(rule(_UNKNOWN, _UNKNOWN), "image_tokens"))
    if isinstance(rule, bool) or not isinstance(rule, int) or rule < 0:
        raise InvalidInputError(f"image_tokens must be a rule's name, a number >= 0 or a function, got {rule!r}")
    return PictureCounter(Flat(rule), rule)


def rule_of(model: str) -> PictureRule | None:
    """Find the rule of a model.

    Args:
        model: a name of the table, or a model's name with or without its provider: ``"gpt-4.1-mini-2025-04-14"``,
            ``"openai:gpt-4.1-mini"``, ``"anthropic/claude-sonnet-4-5"``.

    Returns:
        The rule with the longest name that the model's name begins with, where a ``-`` or the end follows; None if
        there is none. ``gpt-5.9`` has no rule because ``gpt-5`` has one.
    """
    if model in PICTURE_RULES:
        return PICTURE_RULES[model]
    name = re.split("[:/]", model)[-1].lower()
    fitting = [row for row in PICTURE_RULES if name == row or name.startswith(f"{row}-")]
    return PICTURE_RULES[max(fitting, key=len)] if fitting else None


def _whole(tokens: object, setting: str) -> int:
    if isinstance(tokens, bool) or not isinstance(tokens, Real) or not math.isfinite(tokens) or tokens < 0:
        raise InvalidInputError(
            f"the function given as {setting} must give a number of tokens >= 0, got {tokens!r}"
            + ("; of a tokenizer of transformers give its encode" if setting == "text_tokens" else "")
        )
    return math.ceil(float(tokens))
