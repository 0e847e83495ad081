"""LangChain's InMemoryVectorStore as a source."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.dense import nearest, unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.pages import PAGE, Page, check_size, in_order, matrix_pages
from commonscale.core.probing import computed_probes, no_probes
from commonscale.core.question_vectors import question_rows
from commonscale.core.types import Candidates, Probe, Question, Vector
from commonscale.langchain.view import View, equality_test


@dataclass(frozen=True)
class _Snapshot:
    """What the store held when it was last looked at, and the part of it that is searched."""

    records: list[dict[str, Any]]
    vectors: list[Any]
    searched: list[Any]
    documents: list[Document]
    ids: list[str]
    matrix: Vector


class InMemorySource:
    """Searches the store's vectors as one matrix, which is built again when the store has changed.

    The store itself turns all vectors from lists into an array on every search. Changes made by its own
    methods, or by putting another record or vector into ``store.store``, are seen by the next search.
    """

    score_kind = "cosine"
    concurrent = True
    needs_check = False

    def __init__(self, store: Any, view: View) -> None:
        self.store = store
        self.view = view
        self._snapshot: _Snapshot | None = None

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None while the store is empty."""
        first = next(iter(self.store.store.values()), None)
        return None if first is None else len(first["vector"])

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents closest to each question."""
        snapshot = self._current()
        if not snapshot.ids:
            return [Candidates((), np.empty(0)) for _ in questions]
        vectors = question_rows(questions, self.view.modality, snapshot.matrix.shape[1])
        rows, cosines = nearest(snapshot.matrix, vectors, k)
        return [
            Candidates([snapshot.ids[r] for r in best], values, [snapshot.documents[r] for r in best])
            for best, values in zip(rows.tolist(), cosines, strict=True)
        ]

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the cosines beside the store's vectors, for verifying on demand."""
        snapshot = self._current()
        if not snapshot.ids:
            return no_probes(questions)
        rows = question_rows(questions, self.view.modality, snapshot.matrix.shape[1])
        return computed_probes(snapshot.matrix, snapshot.searched, snapshot.ids, rows, k)

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield ids and unit vectors of all that is searched, ``size`` at a time, as it is at the beginning."""
        snapshot = self._current()
        return matrix_pages(snapshot.ids, snapshot.matrix, check_size(size))

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the unit vectors (n, d) of documents that are searched; raises as ``in_order``."""
        snapshot = self._current()
        return in_order(dict(zip(snapshot.ids, snapshot.matrix, strict=True)), ids, "this InMemoryVectorStore")

    def _current(self) -> _Snapshot:
        records = list(self.store.store.values())
        vectors = [record["vector"] for record in records]
        known = self._snapshot
        if known is None or not (_same(records, known.records) and _same(vectors, known.vectors)):
            self._snapshot = known = self._look(records, vectors)
        return known

    def _look(self, records: list[dict[str, Any]], vectors: list[Any]) -> _Snapshot:
        view = self.view
        conditions = [c for c in (view.modality_filter, view.filter) if c is not None]
        tests = [equality_test(condition, "filter") for condition in conditions]
        documents, own = [], []
        for record, vector in zip(records, vectors, strict=True):
            if view.modality_filter is None and not view.labeled(record["metadata"], record["id"]):
                continue
            document = Document(id=record["id"], page_content=record["text"], metadata=record["metadata"])
            if all(test(document) for test in tests):
                documents.append(document)
                own.append(vector)
        ids = [view.id_of(document, document.id) for document in documents]
        try:
            matrix = unit_rows(own, "stored vector") if own else np.empty((0, 0), np.float32)
        except InvalidInputError as error:
            raise InvalidInputError(f"the vectors of modality {view.modality!r} cannot be searched: {error}") from error
        return _Snapshot(records, vectors, own, documents, ids, matrix)


def _same(items: list[Any], others: list[Any]) -> bool:
    # By identity: comparing vectors by value would cost as much as building the matrix.
    return len(items) == len(others) and all(map(operator.is_, items, others))
