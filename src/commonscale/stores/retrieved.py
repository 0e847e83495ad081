"""The contract of a retriever that scores what it finds, and the source that every one of them becomes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from commonscale.core.treatments import Meaning, Scored, best_places
from commonscale.core.types import Candidates, Question
from commonscale.core.unbounded import words_of
from commonscale.stores.bm25 import WordIndex


class Asker(Protocol):
    """A retriever, asked in words.

    An asker may also have ``async def aask(texts, k)`` with the same meaning, if its retriever is truly asynchronous;
    it is then used instead of a thread.
    """

    @property
    def engine(self) -> str:
        """Name what computes the scores."""
        ...

    @property
    def concurrent(self) -> bool:
        """Whether helping threads may ask it."""
        ...

    def ask(self, texts: Sequence[str], k: int) -> list[Scored]:
        """Retrieve for many questions; at least the best ``k`` hits of each, or all there are."""
        ...


class WordAsker:
    """Asks an index of words directly, beside its retriever: all hits are scored, and any ``k`` can be had."""

    def __init__(self, index: WordIndex, read: Callable[[int], tuple[str, Any]], *, concurrent: bool = True) -> None:
        """Wrap an index.

        Args:
            index: the index.
            read: gives the id and the payload of a row.
            concurrent: whether helping threads may ask it.
        """
        self._index = index
        self._read = read
        self.concurrent = concurrent

    @property
    def engine(self) -> str:
        """Name what computes the scores."""
        return self._index.engine

    def ask(self, texts: Sequence[str], k: int) -> list[Scored]:
        """Score the documents that share a word with each question."""
        return [self._one(text, k) for text in texts]

    def _one(self, text: str, k: int) -> Scored:
        rows, scores, words = self._index.match(text)
        best = best_places(scores, k)
        documents = [self._read(row) for row in rows[best].tolist()]
        return Scored([i for i, _ in documents], scores[best], [payload for _, payload in documents], words)


class RetrievedSource:
    """A retriever as the source of one modality; questions need words, but no vector.

    Attributes:
        by_text: true: it searches by the question's words.
        unbounded: whether its scores are of another kind than cosines.
        remote: whether it asks another process, which may be down or slow.
        concurrent: whether helping threads may search it.
        store_name: what messages call it.
    """

    by_text = True

    def __init__(self, retriever: object, asker: Asker, meaning: Meaning, *, remote: bool = False) -> None:
        """Set up the source.

        Args:
            retriever: the retriever, for messages.
            asker: asks it.
            meaning: what its scores mean.
            remote: see the attributes.
        """
        self.store_name = type(retriever).__name__
        self.unbounded = meaning.unbounded
        self.concurrent = asker.concurrent
        self.remote = remote
        self._retriever = retriever
        self._asker: Any = asker
        self._meaning = meaning
        if inspect.iscoroutinefunction(getattr(asker, "aask", None)):
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str:
        """What calibrations remember of the scores: what computed them, and their treatment; or their kind."""
        return self._meaning.name

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Retrieve for one or many questions."""
        return self._candidates(questions, self._asker.ask(self._texts(questions), k), k)

    async def _asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        scored = await self._asker.aask(self._texts(questions), k)
        return await asyncio.to_thread(self._candidates, questions, scored, k)

    def _texts(self, questions: Sequence[Question]) -> list[str]:
        return [words_of(question, self._retriever) for question in questions]

    def _candidates(self, questions: Sequence[Question], scored: Sequence[Scored], k: int) -> list[Candidates]:
        pairs = zip(questions, scored, strict=True)
        return [self._meaning.candidates(question, one, k) for question, one in pairs]
