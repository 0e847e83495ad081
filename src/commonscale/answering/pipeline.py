"""From a question to an answer with citations: search, prompt, language model."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from commonscale.answering.events import Event, Finished, Found, Piece
from commonscale.answering.limits import Limits
from commonscale.answering.opening import answerer_for, builder_for, one_at_a_time
from commonscale.answering.retrieval import Retrieval, check_question
from commonscale.answering.threads import aclose, close, in_thread
from commonscale.answering.types import Answer, Answerer, AsyncAnswerer, Request, Turn
from commonscale.core.ranking import Quotas
from commonscale.core.threads import off_thread
from commonscale.core.types import Ranking
from commonscale.index.opening import open_filled_index
from commonscale.index.searching import OpenedIndex, search_over
from commonscale.prompting.budget import Budget
from commonscale.prompting.citations import parse_citations
from commonscale.prompting.items import Prompt


class QuestionAnswering(Retrieval):
    """Answers questions from the texts and pictures that a joint search finds.

    Safe to use from several threads, and from several tasks at once, if ``encode`` and the answerer are: a question
    leaves nothing behind in here.
    """

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        llm: str | None = None,
        base_url: str | None = None,
        encoder: str | None = None,
        device: str | None = None,
        budget: Budget | None = None,
        folders: Iterable[str | os.PathLike[str]] = (),
        limits: Limits | None = None,
        k: int = 20,
    ) -> QuestionAnswering:
        """Answer from an index that ``commonscale index`` made.

        Args:
            directory: the folder of the index. Without calibration it can be asked with ``raw=True`` only.
            llm: ``PROVIDER:MODEL``, such as ``"openai:gpt-4.1-mini"``, or ``"demo"``; None takes what the index names.
            base_url: of a server of your own that speaks the provider's protocol.
            encoder: where the encoder is now, if it has moved.
            device: as for ``load_encoder``.
            budget: how much may be sent.
            folders: where pictures may be read from beside the folder that was indexed.
            limits: how long an answer may take.
            k: how many documents to look for.

        Raises:
            InvalidInputError: if there is no index, or no language model is named.
            AnswererError: if the language model cannot be used.
            CommonscaleError: if the index or its encoder cannot be used.
        """
        index = open_filled_index(Path(directory), mmap=True)
        # Before the encoder, which takes long to load.
        answerer = answerer_for(llm, index.notes, base_url=base_url, limits=limits)
        opened = search_over(index, encoder=encoder, device=device)
        return cls.over(opened, answerer, budget=budget, folders=folders, k=k)

    @classmethod
    def over(
        cls,
        opened: OpenedIndex,
        answerer: Answerer,
        *,
        budget: Budget | None = None,
        folders: Iterable[str | os.PathLike[str]] = (),
        k: int = 20,
    ) -> QuestionAnswering:
        """Answer from an index that is open already; arguments as for ``open``."""
        builder = builder_for(opened, budget, folders)
        encode = one_at_a_time(opened.encoder.encode_questions)
        return cls(opened.search, encode, answerer, builder=builder, k=k)

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
        check_question(question)
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
        check_question(question)
        answerer, searched = self.answerer, question
        if ranking is None:
            searched = await off_thread(self.standalone, question, history)
            ranking = await off_thread(self.search, searched, raw=raw, k=k, quotas=quotas)
        prompt = await off_thread(self.prompt, ranking, budget)
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


def _finished(text: str, prompt: Prompt, ranking: Ranking) -> Finished:
    return Finished(Answer(text, prompt, parse_citations(text, prompt), ranking))
