"""From a question to an answer with citations: search, prompt, language model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, cast

from numpy.typing import NDArray

from commonscale.answering.events import Event, Finished, Found, Piece, Rankings
from commonscale.answering.items import index_item
from commonscale.answering.threads import aclose, close, in_thread
from commonscale.answering.types import Answer, Answerer, AsyncAnswerer, Condenser, Request, Turn
from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import Quotas
from commonscale.core.search import JointSearch
from commonscale.core.types import Hit, Question, Ranking
from commonscale.prompting.budget import Budget
from commonscale.prompting.builder import PromptBuilder
from commonscale.prompting.citations import parse_citations
from commonscale.prompting.items import Prompt, PromptItem

Encode = Callable[[Sequence[str]], NDArray[Any]]
"""From n questions to their vectors (n, d), such as ``encoder.encode_questions``."""


class QuestionAnswering:
    """Answers questions from the texts and pictures that a joint search finds.

    Safe to use from several threads, and from several tasks at once, if ``encode`` and the answerer are: a question
    leaves nothing behind in here.

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
        return self.joint.search(
            self._embedded(question), k or self.k, minimum=quotas.minimum, maximum=quotas.maximum, raw=raw
        )

    def rankings(self, question: str, *, k: int | None = None, quotas: Quotas | None = None) -> Rankings:
        """Rank documents both ways, from one embedding of the question; arguments as for ``search``."""
        asked, quotas, search = self._embedded(question), quotas or Quotas(), self.joint
        least, most, k = quotas.minimum, quotas.maximum, k or self.k
        raw = search.search(asked, k, minimum=least, maximum=most, raw=True)
        if search.calibration is None:
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

    def stream(
        self,
        question: str,
        history: Sequence[Turn] = (),
        *,
        ranking: Ranking | None = None,
        raw: bool = False,
        k: int | None = None,
        quotas: Quotas | None = None,
        budget: Budget | None = None,
    ) -> Iterator[Event]:
        """Answer a question, telling of every step as it is done.

        Args:
            question: in words.
            history: earlier turns of the conversation, oldest first; the search is then for the
                ``standalone`` question.
            ranking: what was found already; None searches.
            raw: as for ``search``.
            k: as for ``search``.
            quotas: as for ``search``.
            budget: what may be sent, in place of the builder's.

        Yields:
            One ``Found``, then the answer piece by piece, then one ``Finished``.

        Raises:
            AnswererError: if the answerer fails; pieces that came before are no whole answer.
            CommonscaleError: as for ``search``.
        """
        _check(question)
        answerer, searched = self.answerer, question
        if ranking is None:
            searched = self.standalone(question, history)
            ranking = self.search(searched, raw=raw, k=k, quotas=quotas)
        prompt = self.prompt(ranking, budget)
        yield Found(searched, ranking, prompt)
        pieces = answerer.stream(Request(question, prompt, tuple(history)))
        text: list[str] = []
        try:
            for piece in pieces:
                text.append(piece)
                yield Piece(piece)
        finally:
            close(pieces)
        yield _finished("".join(text), prompt, ranking)

    def ask(
        self,
        question: str,
        history: Sequence[Turn] = (),
        *,
        ranking: Ranking | None = None,
        raw: bool = False,
        k: int | None = None,
        quotas: Quotas | None = None,
        budget: Budget | None = None,
    ) -> Answer:
        """Answer a question; arguments and errors are those of ``stream``."""
        *_, last = self.stream(question, history, ranking=ranking, raw=raw, k=k, quotas=quotas, budget=budget)
        return cast("Finished", last).answer

    async def astream(
        self,
        question: str,
        history: Sequence[Turn] = (),
        *,
        ranking: Ranking | None = None,
        raw: bool = False,
        k: int | None = None,
        quotas: Quotas | None = None,
        budget: Budget | None = None,
    ) -> AsyncIterator[Event]:
        """As ``stream``, without holding up the event loop.

        Embedding, searching and preparing pictures happen in threads, and so does an answerer that is no
        ``AsyncAnswerer``.
        """
        _check(question)
        answerer, searched = self.answerer, question
        if ranking is None:
            searched = await asyncio.to_thread(self.standalone, question, history)
            ranking = await asyncio.to_thread(self.search, searched, raw=raw, k=k, quotas=quotas)
        prompt = await asyncio.to_thread(self.prompt, ranking, budget)
        yield Found(searched, ranking, prompt)
        request = Request(question, prompt, tuple(history))
        text: list[str] = []
        pieces = (
            answerer.astream(request) if isinstance(answerer, AsyncAnswerer) else in_thread(answerer.stream(request))
        )
        try:
            async for piece in pieces:
                text.append(piece)
                yield Piece(piece)
        finally:
            await aclose(pieces)
        yield _finished("".join(text), prompt, ranking)

    async def aask(
        self,
        question: str,
        history: Sequence[Turn] = (),
        *,
        ranking: Ranking | None = None,
        raw: bool = False,
        k: int | None = None,
        quotas: Quotas | None = None,
        budget: Budget | None = None,
    ) -> Answer:
        """As ``ask``, without holding up the event loop."""
        events = self.astream(question, history, ranking=ranking, raw=raw, k=k, quotas=quotas, budget=budget)
        return cast("Finished", [event async for event in events][-1]).answer

    def _embedded(self, question: str) -> Question:
        _check(question)
        return Question(question, self._encode([question])[0])

    def _builder(self, budget: Budget | None) -> PromptBuilder:
        return self.builder if budget is None else PromptBuilder(budget, self.builder.pictures)


def _check(question: str) -> None:
    if not isinstance(question, str) or not question.strip():
        raise InvalidInputError(f"the question must be text that is not empty, got {question!r}; say what to look for")


def _finished(text: str, prompt: Prompt, ranking: Ranking) -> Finished:
    return Finished(Answer(text, prompt, parse_citations(text, prompt), ranking))
