"""Which documents an answer cites.

What counts as a citation: ``[1]``, ``[1, 3]``, ``[1][3]``, ``[2-4]``, ``[^1]``, ``[Document 1]``, wide brackets as
in ``【1】``, and brackets with Markdown's escape. What does not: ``(1)``, which is how prose counts; anything in code
(`` `a[0]` `` and fenced blocks); numbers of four and more digits that were not sent, which are years. The text of a
link, ``[1](https://...)``, counts if there is such a document, and is no error if there is none.

All of it takes time in proportion to the answer, so that a page can look again whenever a piece has come.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
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
        """Ids of the cited documents, in the order of their first citation.

        A picture and a passage that share an id both give it: ``cited`` tells them apart.
        """
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
    documents = {sent.number: sent.item for sent in prompt.sent}
    marks = tuple(_mark(span, numbers, documents) for span, numbers in cited_numbers(answer, documents))
    spans: dict[int, list[tuple[int, int]]] = {}
    for mark in marks:
        for number in mark.numbers:
            spans.setdefault(number, []).append((mark.start, mark.end))
    return Citations(
        tuple(Citation(number, documents[number], tuple(places)) for number, places in spans.items()),
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


def cited_numbers(answer: str, known: Collection[int] | None = None) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Find the brackets of an answer, and all numbers in them.

    Args:
        answer: the model's words.
        known: the numbers that were sent. None if they are not known here: none is then told from one that was made
            up, and of a range no more than 50 numbers are given.

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
        numbers = _numbers(match["inside"], known)
        if known is not None and answer.startswith("(", match.end()):
            numbers = [number for number in numbers if number in known]
        if numbers:
            yield match.span(), numbers


def _mark(span: tuple[int, int], numbers: Sequence[int], known: Collection[int]) -> Mark:
    unknown = tuple(number for number in numbers if number not in known)
    return Mark(*span, tuple(number for number in numbers if number in known), unknown)


def _numbers(inside: str, known: Collection[int] | None) -> list[int]:
    named: list[int] = []
    for piece in _PIECE.finditer(inside):
        first, last = int(piece[1]), int(piece[2] or piece[1])
        between = range(first + 1, min(last, first + _WIDEST)) if known is None else sorted(known)
        named += [first, *(number for number in between if first < number < last), last]
    return [number for number in dict.fromkeys(named) if number < _YEAR or number in (known or ())]
