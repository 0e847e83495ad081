"""What answerers over the chat models of all frameworks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

from commonscale.answering.failures import Failures
from commonscale.answering.limits import Limits, alimited, limited
from commonscale.answering.types import Request, Turn
from commonscale.core.errors import AnswererError
from commonscale.prompting.citations import strip_citations
from commonscale.prompting.instructions import ANSWER_INSTRUCTIONS, CONDENSE_INSTRUCTIONS, condense_text, user_parts
from commonscale.prompting.items import PreparedPicture

Parts = Sequence[str | PreparedPicture]
"""A user's message: texts and pictures in order."""


class LanguageModelAnswerer(ABC):
    """Asks a chat model: instructions, earlier turns, the numbered documents with their pictures, the question.

    Whatever goes wrong is told as one ``AnswererError`` that a user can read and that holds no key.
    """

    def __init__(
        self, failures: Failures, *, instructions: str = ANSWER_INSTRUCTIONS, limits: Limits | None = None
    ) -> None:
        """Ask as follows.

        Args:
            failures: explains what goes wrong, and names the model.
            instructions: the system message.
            limits: how long an answer may take.
        """
        self._failures = failures
        self._instructions = instructions
        self._limits = limits or Limits()
        self._gives_reasons = False

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._failures.name

    def stream(self, request: Request) -> Iterator[str]:
        """Answer, piece by piece.

        Raises:
            AnswererError: if the model cannot be asked, takes too long, or breaks off.
        """
        parts = user_parts(request.prompt, request.question)
        return self._limited(self._instructions, _uncited(request.history), parts)

    def astream(self, request: Request) -> AsyncIterator[str]:
        """As ``stream``, on the event loop."""
        parts = user_parts(request.prompt, request.question)
        make = partial(self._asend, self._instructions, _uncited(request.history), parts)
        return alimited(make, self._limits, self.name, self._failures)

    def condense(self, question: str, history: Sequence[Turn]) -> str:
        """Word a follow-up question so that it stands for itself.

        Raises:
            AnswererError: as for ``stream``.
        """
        conversation = condense_text([(turn.question, turn.answer) for turn in _uncited(history)], question)
        return "".join(self._limited(CONDENSE_INSTRUCTIONS, (), [conversation])).strip()

    def _limited(self, system: str, history: Sequence[Turn], parts: Parts) -> Iterator[str]:
        return limited(partial(self._send, system, history, parts), self._limits, self.name, self._failures)

    def _check_end(self, reason_given: bool) -> None:
        """Tell an answer that broke off from one that has ended, where that can be told.

        A connection that is closed in good order looks like the end of an answer. Most providers say why an answer
        ends, some servers and all fake models never do: that nothing is said means something only of a model that has
        given a reason before.

        Args:
            reason_given: whether the provider has said why this answer ends.

        Raises:
            AnswererError: if it has not, and did before.
        """
        if self._gives_reasons and not reason_given:
            raise AnswererError(
                f"the answer of {self.name} broke off before it was whole (its end was not told, as it was of earlier "
                f"ones); ask again"
            )
        self._gives_reasons = self._gives_reasons or reason_given

    @abstractmethod
    def _send(self, system: str, history: Sequence[Turn], parts: Parts) -> Iterator[str]:
        """Send one request and give the words of the answer as they come; may raise whatever the client raises."""

    @abstractmethod
    def _asend(self, system: str, history: Sequence[Turn], parts: Parts) -> AsyncIterator[str]:
        """As ``_send``, on the event loop."""


def _uncited(history: Sequence[Turn]) -> tuple[Turn, ...]:
    """Give earlier turns without their citations, so that nothing need be said of them as ``CHAT_INSTRUCTIONS`` do."""
    return tuple(Turn(turn.question, strip_citations(turn.answer)) for turn in history)
