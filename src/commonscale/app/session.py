"""What the page knows of one user: the conversation so far, and a scale of their own if they made one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from commonscale.answering import Answer, Event, Finished, Found, Piece, Rankings, Turn
from commonscale.app.choice import Choice
from commonscale.app.scores import BestScores
from commonscale.core.calibration import Calibration
from commonscale.prompting.items import Prompt

HISTORY = 50
"""Most questions that a conversation keeps; older ones go."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The documents are ranked; comes before the prompt is made."""

    searched: str
    rankings: Rankings


@dataclass(eq=False)
class Exchange:
    """A question and what has come of it so far.

    Attributes:
        number: from 0, within the conversation.
        question: as it was asked.
        searched: what was searched for.
        choice: how many documents of which kinds were looked for, None if that could not be read.
        calibration: the scale of the ranking, None for raw cosine.
        rankings: what was found.
        raw: whether it was answered from the ranking by raw cosine.
        prompt: what was sent.
        text: the answer, as far as it has come.
        answer: the answer, once it is whole.
        note: a sentence on what is going on, empty for nothing.
        error: a sentence on what went wrong, empty for nothing.
        over: whether nothing more comes.
    """

    number: int
    question: str
    searched: str = ""
    choice: Choice | None = None
    calibration: Calibration | None = None
    rankings: Rankings | None = None
    raw: bool = False
    prompt: Prompt | None = None
    text: str = ""
    answer: Answer | None = None
    note: str = ""
    error: str = ""
    over: bool = False

    def take(self, event: Ranked | Event) -> None:
        """Note what has happened."""
        self.note = ""
        if isinstance(event, Ranked):
            self.searched, self.rankings = event.searched, event.rankings
            self.raw = self.raw or event.rankings.standardized is None
        elif isinstance(event, Found):
            self.prompt = event.prompt
        elif isinstance(event, Piece):
            self.text += event.text
        elif isinstance(event, Finished):
            self.answer, self.over = event.answer, True

    def put_away(self) -> None:
        """Keep what a past exchange shows, but not the pictures that were sent, which may be large."""
        if self.prompt is not None:
            self.prompt = replace(self.prompt, sent=tuple(replace(one, picture=None) for one in self.prompt.sent))
        if self.answer is not None and self.prompt is not None:
            self.answer = replace(self.answer, prompt=self.prompt)

    def end(self, *, error: str = "", note: str = "") -> None:
        """Expect nothing more."""
        self.error, self.note, self.over = error, note, True


@dataclass(eq=False)
class Session:
    """One user's page.

    Attributes:
        past: earlier exchanges, oldest first.
        current: the last one, None before the first.
        asking: the one that the browser still waits for, which may be over already; None while it takes a question.
        calibration: a scale of their own, None for that of the index.
        scores: the scores of the questions that it was learned from.
    """

    past: list[Exchange] = field(default_factory=list)
    current: Exchange | None = None
    asking: Exchange | None = None
    calibration: Calibration | None = None
    scores: BestScores | None = None

    def begin(self, question: str, *, raw: bool) -> Exchange:
        """Begin a new exchange; the last one becomes a past one."""
        number = 0
        if self.current is not None:
            self.current.put_away()
            self.past = [*self.past, self.current][-HISTORY:]
            number = self.current.number + 1
        self.current = self.asking = Exchange(number, question, raw=raw)
        return self.current

    def asked(self, one: Exchange) -> None:
        """Note that nothing more is told of an exchange; if another one has begun, that one is waited for."""
        if self.asking is one:
            self.asking = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Earlier questions with whole answers, as a language model is reminded of them."""
        return tuple(Turn(one.question, one.answer.text) for one in self.past if one.answer is not None)

    def forget(self) -> None:
        """Begin a new conversation; the scale stays."""
        self.past, self.current = [], None
