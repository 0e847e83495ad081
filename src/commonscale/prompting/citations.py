"""Which documents an answer cites.

What counts as a citation: ``[1]``, ``[1, 3]``, ``[1][3]``, ``[2-4]``, ``[^1]``, ``[Document 1]``, full-width brackets as
in ``【1】``, and brackets with Markdown's escape. What does not: ``(1)``, which is how prose counts; anything in code
(`` `a[0]` `` and fenced blocks); numbers of four and more digits that were not sent, which are years. The text of a
link, ``[1](https://...)``, counts if there is such a document, and is no error if there is none.

All of it takes time in proportion to the answer, so that a page can look again whenever a piece has come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from commonscale.prompting.code_spans import code_spans
from commonscale.prompting.items import Prompt, PromptItem
from commonscale.prompting.untrusted import CITATION

_PIECE = re.compile(r"(\d+)(?:[^\d,;&\w]*[-–—][^\d,;&\w]*(\d+))?")
_YEAR = 1000
_WIDEST = 50


@dataclass(frozen=True, slots=True, eq=False)
class Citation:
    """One number that an answer cites.

    Attributes:
        number: as written in brackets.
        item: the document that was sent under it; ``item.payload`` is the framework's node or document.
        spans: where it stands in the answer: start and end of each bracket.
    """

    number: int
    item: PromptItem
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """One bracket in an answer.

    Attributes:
        start: where it begins.
        end: where the text goes on.
        numbers: of documents that were sent, in the order in which the bracket names them, each once.
        unknown: numbers that were not sent.
    """

    start: int
    end: int
    numbers: tuple[int, ...]
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Citations:
    """What an answer cites.

    Attributes:
        cited: documents in the order in which they are first cited.
        unknown: numbers that were cited but not sent, in order, each once.
        marks: the brackets, in the order of the answer.
    """

    cited: tuple[Citation, ...] = ()
    unknown: tuple[int, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Ids of the cited documents, in the order of their first citation."""
        return [citation.item.id for citation in self.cited]


def parse_citations(answer: str, prompt: Prompt) -> Citations:
    """Find the citations of an answer.

    Args:
        answer: the model's words; may be the beginning of an answer that is still being written.
        prompt: what the model was sent.

    Returns:
        The documents that it cites, and the numbers that it made up. Of a range that goes beyond what was sent, only
        its ends count as made up.
    """
    marks = tuple(_marks(answer, prompt))
    spans: dict[int, list[tuple[int, int]]] = {}
    for mark in marks:
        for number in mark.numbers:
            spans.setdefault(number, []).append((mark.start, mark.end))
    found = ((number, prompt.item(number), places) for number, places in spans.items())
    return Citations(
        tuple(Citation(number, item, tuple(places)) for number, item, places in found if item is not None),
        tuple(dict.fromkeys(number for mark in marks for number in mark.unknown)),
        marks,
    )


def strip_unknown(answer: str, citations: Citations) -> str:
    """Take the made-up citations out of an answer, and leave the others as they are.

    Args:
        answer: the model's words.
        citations: what ``parse_citations`` found in these words.

    Returns:
        The answer without numbers that were not sent; a bracket that named nothing else goes away with the space
        before it.
    """
    kept: list[str] = []
    place = 0
    for mark in citations.marks:
        if mark.unknown:
            before = answer[place : mark.start]
            numbers = "".join(f"[{number}]" for number in mark.numbers)
            kept += [before if numbers else before.rstrip(" \t"), numbers]
            place = mark.end
    return "".join([*kept, answer[place:]])


def strip_citations(answer: str) -> str:
    """Take all citations out of an answer.

    For the history of a conversation: ``[1]`` of an earlier answer would name another document in the next one.
    """
    return strip_unknown(answer, parse_citations(answer, Prompt(())))


def cited_numbers(answer: str, sent: int | None = None) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Find the brackets of an answer, and all numbers in them.

    Args:
        answer: the model's words.
        sent: how many documents the model was sent. None if that is not known here: no number is then told from one
            that was made up, and no range is wider than 50.

    Yields:
        Start and end of each bracket, in order, and its numbers, each once. Brackets without any are passed over.
    """
    code = code_spans(answer)
    start, end = next(code, (len(answer), len(answer) + 1))
    for match in CITATION.finditer(answer):
        while match.start() >= end:
            start, end = next(code, (len(answer), len(answer) + 1))
        if match.end() > start:
            continue
        numbers = _numbers(match["inside"], sent)
        if sent is not None and answer.startswith("(", match.end()):
            numbers = [number for number in numbers if 1 <= number <= sent]
        if numbers:
            yield match.span(), numbers


def _marks(answer: str, prompt: Prompt) -> Iterator[Mark]:
    sent = len(prompt.sent)
    for (start, end), numbers in cited_numbers(answer, sent):
        known = tuple(number for number in numbers if 1 <= number <= sent)
        yield Mark(start, end, known, tuple(number for number in numbers if number not in known))


def _numbers(inside: str, sent: int | None) -> list[int]:
    named: list[int] = []
    for piece in _PIECE.finditer(inside):
        first, last = int(piece[1]), int(piece[2] or piece[1])
        # What lies between is looked for among what was sent, however wide the range is.
        widest = min(last, first + _WIDEST) if sent is None else min(last, sent + 1)
        named += [first, *range(max(first + 1, 1), widest), last]
    return [number for number in dict.fromkeys(named) if number < _YEAR or number <= (sent or 0)]
