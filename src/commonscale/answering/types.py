"""What is asked of an answerer, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from commonscale.core.types import Ranking
from commonscale.prompting.citations import Citations
from commonscale.prompting.items import Prompt


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question of the same conversation, with its answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One question with the documents to answer it from.

    Attributes:
        question: as the user asked it.
        prompt: the numbered documents; may be empty.
        history: earlier turns, oldest first.
    """

    question: str
    prompt: Prompt
    history: Sequence[Turn] = field(default_factory=tuple)


@runtime_checkable
class Answerer(Protocol):
    """Anything that answers a question from numbered documents."""

    @property
    def name(self) -> str:
        """What to call it where its answers are shown, such as ``"openai:gpt-4.1-mini"``."""
        ...

    def stream(self, request: Request) -> Iterator[str]:
        """Answer, piece by piece; the pieces joined are the answer, citing documents as ``[1]``.

        Raises:
            AnswererError: if it cannot be asked, in words that a user of a page can read.
        """
        ...


@runtime_checkable
class AsyncAnswerer(Answerer, Protocol):
    """An answerer that can also be asked without a thread."""

    def astream(self, request: Request) -> AsyncIterator[str]:
        """As ``stream``, on the event loop."""
        ...


@runtime_checkable
class Condenser(Protocol):
    """What an answerer is, beside, if it can make a follow-up question stand for itself."""

    def condense(self, question: str, history: Sequence[Turn]) -> str:
        """Word a question so that it is understood, and found, without the earlier turns.

        Args:
            question: such as "And its roof?".
            history: earlier turns, oldest first; at least one.

        Returns:
            Such as "What colour is the roof of the red house?".

        Raises:
            AnswererError: as for ``Answerer.stream``.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """An answer with what it rests on.

    Attributes:
        text: the answer, with its citations in brackets.
        prompt: what was sent, and what was left out.
        citations: the documents that the answer cites, and numbers that it made up.
        ranking: all that was found, in ranked order.
    """

    text: str
    prompt: Prompt
    citations: Citations
    ranking: Ranking
