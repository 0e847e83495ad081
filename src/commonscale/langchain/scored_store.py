"""Any vector store that searches by vector and returns a score whose kind is known."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.concurrency import amap_bounded, off_loop
from commonscale.core.cosines import SCORE_KINDS, to_cosine
from commonscale.core.errors import InvalidInputError, SourceError, UnknownScoreKindError
from commonscale.core.question_vectors import question_rows
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Probe, Question
from commonscale.langchain.stored_vectors import stored_vectors
from commonscale.langchain.view import View

METHOD = "similarity_search_with_score_by_vector"
"""What most stores call their search by vector that returns documents with scores."""


class ScoredSource:
    """Searches by the store's own method, question by question, and turns its scores into cosines."""

    def __init__(self, store: Any, view: View, method: str = METHOD) -> None:
        """Check that the store can be used.

        Args:
            store: the store.
            view: which documents; its score kind is needed.
            method: the store's search by vector that returns documents with scores. With an ``a`` before it, the
                asynchronous twin, used if there is one.

        Raises:
            InvalidInputError: if the store has no such method, or the view's filters cannot be joined.
            UnknownScoreKindError: if its scores have no known meaning.
        """
        self.store = store
        self.store_name = type(store).__name__
        self.view = view
        self._method = method
        if not callable(getattr(store, method, None)):
            raise InvalidInputError(
                f"a {type(store).__name__} cannot be searched by vector: it has no method {method}()"
            )
        if view.score_kind is None:
            raise UnknownScoreKindError(
                f"what the scores of {type(store).__name__}.{method}() mean is not known: pass score_kind='...', "
                f"one of: {', '.join(SCORE_KINDS)}; or a function from scores to cosines"
            )
        to_cosine([], view.score_kind)
        self.score_kind = view.score_kind
        self._arguments = self._restriction()

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents closest to each question."""
        ask = getattr(self.store, self._method)
        return [self._candidates(ask(v, k=k, **self._arguments), k) for v in self._vectors(questions)]

    async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """As ``search``: by the store's asynchronous method if it has one, else in a thread."""
        ask = getattr(self.store, "a" + self._method, None)
        if not inspect.iscoroutinefunction(ask):
            return await off_thread(self.search, questions, k)

        async def one(vector: list[float]) -> Any:
            return await ask(vector, k=k, **self._arguments)

        answers = await amap_bounded(one, self._vectors(questions))
        return await off_loop(len(answers), lambda: [self._candidates(answer, k) for answer in answers])

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the store's scores beside its vectors, for the self-check; without them if it keeps them back."""
        ask = getattr(self.store, self._method)
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
        self._check_labels(documents)
        ids = [self.view.id_of(document, None) for document in documents]
        cosines = to_cosine([score for _, score in answer], self.score_kind)
        order = np.argsort(-cosines, kind="stable")[:k]
        return Candidates([ids[i] for i in order], cosines[order], [documents[i] for i in order])

    def _check_labels(self, documents: Sequence[Document]) -> None:
        """Refuse a store that does not heed its filter: texts would be ranked as images."""
        view = self.view
        if view.modality_key is None or view.modality_filter is not None:
            return
        for document in documents:
            label = document.metadata.get(view.modality_key)
            if label != view.modality:
                raise SourceError(
                    f"{type(self.store).__name__}.{self._method}() was asked for documents with "
                    f"{view.modality_key}={view.modality!r} by filter= and returned one with {label!r}: it does not "
                    f"heed the filter, so it cannot hold several modalities; use one store per modality"
                )

    def _restriction(self) -> dict[str, Any]:
        view = self.view
        own = view.modality_filter
        if own is None and view.modality_key is not None:
            own = {view.modality_key: view.modality}
        given = [condition for condition in (own, view.filter) if condition is not None]
        if not given:
            return {}
        return {"filter": given[0] if len(given) == 1 else self._join(*given)}

    def _join(self, own: Any, given: Any) -> Any:
        """Join the filter of the modality with the user's; under a common key one would replace the other."""
        if isinstance(own, Mapping) and isinstance(given, Mapping) and not set(own) & set(given):
            return {**own, **given}
        raise InvalidInputError(
            f"the filters {own!r} and {given!r} cannot be joined for {type(self.store).__name__}; "
            f"give one complete filter per modality with modality_filters=..."
        )
