"""Any vector store that searches by vector and returns a score whose kind is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.concurrency import amap_bounded, off_loop
from commonscale.core.cosines import SCORE_KINDS, Converter, to_cosine
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.question_vectors import question_rows
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Probe, Question
from commonscale.langchain.stored_vectors import stored_vectors
from commonscale.langchain.view import View


@dataclass(frozen=True)
class StoreFacts:
    """What must be known of a store's class to read its scores and restrict its search.

    Attributes:
        score_kind: reads from a store what its scores mean; None if the user must say.
        method: its search by vector that returns documents with scores. With an ``a`` before it, the
            asynchronous twin, used if there is one.
        filter_keyword: how that method calls its filter.
        modality_filter: makes the filter for a metadata key and a modality.
        both: joins two filters into one.
    """

    score_kind: Callable[[Any], str | Converter] | None = None
    method: str = "similarity_search_with_score_by_vector"
    filter_keyword: str = "filter"
    modality_filter: Callable[[str, str], Any] = lambda key, modality: {key: modality}
    both: Callable[[Any, Any], Any] = lambda one, other: {**one, **other}

    def source(self, store: Any, view: View) -> ScoredSource:
        """Make the source; this is what the table of stores calls."""
        return ScoredSource(store, view, self)


class ScoredSource:
    """Searches by the store's own method, question by question, and turns its scores into cosines."""

    def __init__(self, store: Any, view: View, facts: StoreFacts) -> None:
        """Check that the store can be used.

        Raises:
            InvalidInputError: if the store has no such method.
            UnknownScoreKindError: if its scores have no known meaning.
        """
        self.store = store
        self.store_name = type(store).__name__
        self.view = view
        self.facts = facts
        kind = view.score_kind
        if kind is None and facts.score_kind is not None:
            kind = facts.score_kind(store)
        if not callable(getattr(store, facts.method, None)):
            raise InvalidInputError(
                f"a {type(store).__name__} cannot be searched by vector: it has no method {facts.method}()"
            )
        if kind is None:
            raise UnknownScoreKindError(
                f"what the scores of {type(store).__name__}.{facts.method}() mean is not known: pass score_kind='...', "
                f"one of: {', '.join(SCORE_KINDS)}; or a function from scores to cosines"
            )
        to_cosine([], kind)
        self.score_kind = kind
        self._arguments = self._restriction()

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents closest to each question."""
        ask = getattr(self.store, self.facts.method)
        return [self._candidates(ask(v, k=k, **self._arguments), k) for v in self._vectors(questions)]

    async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """As ``search``: by the store's asynchronous method if it has one, else in a thread."""
        ask = getattr(self.store, "a" + self.facts.method, None)
        if not inspect.iscoroutinefunction(ask):
            return await off_thread(self.search, questions, k)

        async def one(vector: list[float]) -> Any:
            return await ask(vector, k=k, **self._arguments)

        answers = await amap_bounded(one, self._vectors(questions))
        return await off_loop(len(answers), lambda: [self._candidates(answer, k) for answer in answers])

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the store's scores beside its vectors, for the self-check; without them if it keeps them back."""
        ask = getattr(self.store, self.facts.method)
        return [self._probe(ask(v, k=k, **self._arguments)) for v in self._vectors(questions)]

    def _probe(self, answer: Sequence[tuple[Document, float]]) -> Probe:
        documents = [document for document, _ in answer]
        ids = [self.view.id_of(document, None) for document in documents]
        scores = np.array([score for _, score in answer], np.float64)
        return Probe(ids, scores, stored_vectors(self.store, documents), self.score_kind)

    def _vectors(self, questions: Sequence[Question]) -> list[list[float]]:
        vectors: list[list[float]] = question_rows(questions, self.view.modality).tolist()
        return vectors

    def _candidates(self, answer: Sequence[tuple[Document, float]], k: int) -> Candidates:
        documents = [document for document, _ in answer]
        ids = [self.view.id_of(document, None) for document in documents]
        cosines = to_cosine([score for _, score in answer], self.score_kind)
        order = np.argsort(-cosines, kind="stable")[:k]
        return Candidates([ids[i] for i in order], cosines[order], [documents[i] for i in order])

    def _restriction(self) -> dict[str, Any]:
        view = self.view
        own = view.modality_filter
        if own is None and view.modality_key is not None:
            own = self.facts.modality_filter(view.modality_key, view.modality)
        if own is None or view.filter is None:
            condition = view.filter if own is None else own
        else:
            condition = self._join(own, view.filter)
        return {} if condition is None else {self.facts.filter_keyword: condition}

    def _join(self, one: Any, other: Any) -> Any:
        try:
            return self.facts.both(one, other)
        except TypeError as error:
            raise InvalidInputError(
                f"the filters {one!r} and {other!r} cannot be joined for {type(self.store).__name__}; "
                f"give one complete filter per modality with modality_filters=..."
            ) from error
