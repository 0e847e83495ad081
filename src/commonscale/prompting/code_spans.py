"""Where code stands in a text in Markdown."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_TICKS = re.compile(r"`+")


def code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Find code blocks between fences, and code between backticks (CommonMark 4.5 and 6.1; indented blocks are not).

    Args:
        text: in Markdown; a fence that is not closed goes on to the end.

    Yields:
        Start and end of each, in order, not overlapping. Takes time in proportion to the text.
    """
    place = 0
    for start, end in _fences(text):
        yield from _between_ticks(text, place, start)
        yield start, end
        place = end
    yield from _between_ticks(text, place, len(text))


def _fences(text: str) -> Iterator[tuple[int, int]]:
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opened is None:
            if line[1][0] == "~" or "`" not in line[2]:
                opened = line
        elif line[1].startswith(opened[1]) and not line[2].strip():
            yield opened.start(), line.end()
            opened = None
    if opened is not None:
        yield opened.start(), len(text)


def _between_ticks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    runs = [run.span() for run in _TICKS.finditer(text, start, end)]
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, (first, last) in enumerate(runs):
        by_length[last - first].append(index)
    index = 0
    while index < len(runs):
        first, last = runs[index]
        same = by_length[last - first]
        closing = bisect_right(same, index)
        if closing < len(same):
            index = same[closing]
            yield first, runs[index][1]
        index += 1
