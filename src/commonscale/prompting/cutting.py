"""Cutting a text that is too long, between words."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

ELLIPSIS = "…"
_FAR = 60  # characters given up to end with a whole word; Chinese or one long address has no word's end nearby
_WORD_END = re.compile(r"\S(?=\s)")


def shorten(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """Cut a text to a number of tokens, after a word if one ends nearby, and mark the cut with an ellipsis.

    Args:
        text: what to cut.
        tokens: how many tokens the result may have, the ellipsis included; at least 1.
        count: tells the tokens of a text.

    Returns:
        The text itself if it is short enough; else its beginning with ``" …"``, or with ``"…"`` inside a word; empty
        if not even the first character fits.
    """
    if count(text) <= tokens:
        return text
    end = _longest(text, tokens, count)
    # Tokens do not strictly grow with the text in every tokenizer: what comes out is checked, not believed.
    while end > 0:
        cut = _at_word(text, end)
        if count(cut) <= tokens:
            return cut
        end -= 1
    return ""


def _longest(text: str, tokens: int, count: Callable[[str], int]) -> int:
    def tokens_to(end: int) -> int:
        return count(f"{text[:end]} {ELLIPSIS}")

    reach = 4 * tokens
    while reach < len(text) and tokens_to(reach) <= tokens:  # so that a book is not counted twenty times
        reach *= 2
    return bisect_right(range(1, min(reach, len(text)) + 1), tokens, key=tokens_to)


def _at_word(text: str, end: int) -> str:
    start = max(end - _FAR, 0)
    ends = [found.end() for found in _WORD_END.finditer(text, start, end + 1)]
    return f"{text[: ends[-1]]} {ELLIPSIS}" if ends else f"{text[:end].rstrip()}{ELLIPSIS}"
