"""What happens while a question is answered, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from commonscale.answering.types import Answer
from commonscale.core.types import Ranking
from commonscale.prompting.items import Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """One question ranked both ways.

    Attributes:
        raw: by raw cosine.
        standardized: on the common scale; None if nothing has been calibrated.
    """

    raw: Ranking
    standardized: Ranking | None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The search is done and the prompt is made; comes first.

    Attributes:
        question: what was searched for: the question, or its standalone form if it follows up on earlier turns.
        ranking: all that was found, in ranked order.
        prompt: what the answerer is sent, and what was left out.
    """

    question: str
    ranking: Ranking
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Piece:
    """The next words of the answer; the pieces joined are its text."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The answer is whole; comes last."""

    answer: Answer


Event: TypeAlias = Found | Piece | Finished
"""One ``Found``, then any number of ``Piece``, then one ``Finished``."""
