"""The first half of answering: from a question to a ranking, and from that to a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from commonscale.answering.events import Rankings
from commonscale.answering.items import index_item
from commonscale.answering.types import Answerer, Condenser, Turn
from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import Quotas
from commonscale.core.search import JointSearch
from commonscale.core.types import Hit, Question, Ranking
from commonscale.core.wording import check_wording
from commonscale.prompting.budget import Budget
from commonscale.prompting.builder import PromptBuilder
from commonscale.prompting.items import Prompt, PromptItem

Encode = Callable[[Sequence[str]], NDArray[Any]]
"""From n questions to their vectors (n, d), such as ``encoder.encode_questions``."""


class Retrieval:
    """Finds documents for questions, and decides what of them is sent.

    Attributes:
        joint: the search; finds and ranks.
        answerer: the language model; may be replaced at any time, for questions asked from then on.
        builder: decides what of a ranking is sent.
        k: how many documents are looked for, unless a question says otherwise.
    """

    def __init__(
        self,
        search: JointSearch,
        encode: Encode,
        answerer: Answerer,
        *,
        builder: PromptBuilder | None = None,
        to_item: Callable[[Hit], PromptItem] = index_item,
        k: int = 20,
    ) -> None:
        """Put the parts together.

        Args:
            search: finds and ranks; its calibration is looked at anew for every question.
            encode: embeds questions.
            answerer: the language model.
            builder: decides what of a ranking is sent; None sends all that is found, but no pictures from files.
            to_item: from a hit to what could be sent of it.
            k: how many documents to look for, at least 1.
        """
        self.joint = search
        self.answerer = answerer
        self.builder = builder or PromptBuilder()
        self.k = k
        self._encode = encode
        self._to_item = to_item

    def search(
        self, question: str, *, raw: bool = False, k: int | None = None, quotas: Quotas | None = None
    ) -> Ranking:
        """Rank documents for a question.

        Args:
            question: in words.
            raw: by raw cosine instead of on the common scale.
            k: how many documents; None for those of the constructor.
            quotas: least and most of a modality.

        Raises:
            InvalidInputError: if the question is empty.
            NotCalibratedError: if nothing is calibrated, and ``raw`` is not asked for.
            SourceError: if a store fails.
        """
        quotas = quotas or Quotas()
        k = self.k if k is None else k
        return self.joint.search(self._embedded(question), k, minimum=quotas.minimum, maximum=quotas.maximum, raw=raw)

    def rankings(self, question: str, *, k: int | None = None, quotas: Quotas | None = None) -> Rankings:
        """Rank documents both ways, from one embedding of the question; arguments as for ``search``."""
        asked, quotas, search = self._embedded(question), quotas or Quotas(), self.joint
        least, most, k = quotas.minimum, quotas.maximum, self.k if k is None else k
        raw = search.search(asked, k, minimum=least, maximum=most, raw=True)
        if search.calibration is None or not search.calibration.modalities:
            return Rankings(raw, None)
        return Rankings(raw, search.search(asked, k, minimum=least, maximum=most))

    def standalone(self, question: str, history: Sequence[Turn]) -> str:
        """Word a follow-up question so that it can be searched for without the earlier turns.

        Returns:
            The question itself if there are no earlier turns, or if the answerer is no ``Condenser``.

        Raises:
            AnswererError: if the answerer cannot be asked.
        """
        if not history or not isinstance(self.answerer, Condenser):
            return question
        return self.answerer.condense(question, history).strip() or question

    def prompt(self, ranking: Ranking, budget: Budget | None = None) -> Prompt:
        """Decide what of a ranking is sent; ``budget`` replaces that of the builder."""
        return self._builder(budget).build(map(self._to_item, ranking))

    def _embedded(self, question: str) -> Question:
        check_question(question)
        return Question(question, self._encode([question])[0])

    def _builder(self, budget: Budget | None) -> PromptBuilder:
        return self.builder if budget is None else PromptBuilder(budget, self.builder.pictures)


def check_question(question: str) -> None:
    """Refuse a question without words.

    Raises:
        InvalidInputError: if it is empty, or no text, or no valid Unicode.
    """
    if not isinstance(question, str) or not question.strip():
        raise InvalidInputError(f"the question must be text that is not empty, got {question!r}; say what to look for")
    check_wording(question)
