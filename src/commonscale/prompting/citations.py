"""Which documents an answer cites."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from commonscale.prompting.items import Prompt, PromptItem

# [1], [1, 3], [2-4], [1; 2] and the full-width brackets that some models write.
_CITATION = re.compile(r"[\[【]\s*(\d{1,4}(?:\s*(?:[,;]|[-–])\s*\d{1,4})*)\s*[\]】]")
_PIECE = re.compile(r"(\d{1,4})(?:\s*[-–]\s*(\d{1,4}))?")


@dataclass(frozen=True, slots=True, eq=False)
class Citation:
    """One number that an answer cites.

    Attributes:
        number: as written in brackets.
        item: the document that was sent under it.
        spans: where it stands in the answer: start and end of each bracket.
    """

    number: int
    item: PromptItem
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Citations:
    """What an answer cites.

    Attributes:
        cited: documents in the order in which they are first cited.
        unknown: numbers that were cited but not sent, in order, each once.
    """

    cited: tuple[Citation, ...] = ()
    unknown: tuple[int, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Ids of the cited documents, in the order of their first citation."""
        return [citation.item.id for citation in self.cited]


def parse_citations(answer: str, prompt: Prompt) -> Citations:
    """Find the citations of an answer.

    Args:
        answer: the model's words.
        prompt: what it was sent.

    Returns:
        The documents that it cites, and the numbers that it made up.
    """
    spans: dict[int, list[tuple[int, int]]] = {}
    for span, numbers in cited_numbers(answer):
        for number in numbers:
            spans.setdefault(number, []).append(span)
    found = [(number, prompt.item(number), places) for number, places in spans.items()]
    return Citations(
        tuple(Citation(number, item, tuple(places)) for number, item, places in found if item is not None),
        tuple(number for number, item, _ in found if item is None),
    )


def cited_numbers(answer: str) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Find the brackets of an answer, in order: start and end of each, and the numbers in it."""
    for match in _CITATION.finditer(answer):
        yield match.span(), _numbers(match.group(1))


def _numbers(inside: str) -> list[int]:
    numbers: list[int] = []
    for piece in _PIECE.finditer(inside):
        first, last = int(piece.group(1)), int(piece.group(2) or piece.group(1))
        numbers += range(first, last + 1) if first <= last <= first + 50 else [first, last]
    return list(dict.fromkeys(numbers))
