"""LangChain's FAISS vector store as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import Document

from commonscale.core.errors import SourceError
from commonscale.core.faiss_cosines import FaissCosines
from commonscale.core.faiss_pages import row_pages
from commonscale.core.faiss_vectors import Rows
from commonscale.core.pages import PAGE, Page, check_size, picked
from commonscale.core.question_vectors import question_rows
from commonscale.core.sameness import LastItems, begins_with
from commonscale.core.types import Candidates, Probe, Question, Vector
from commonscale.langchain.view import View


@dataclass(frozen=True)
class _Snapshot:
    index: Any
    names: dict[int, str]
    docstore: Any
    cosines: FaissCosines
    last: LastItems
    documents: list[Any]


class FaissStoreSource:
    """Searches the FAISS index under the store, because the store's own scores cannot be used.

    They are squared distances or inner products whatever ``distance_strategy`` says (COSINE still makes an
    ``IndexFlatL2``), relevance scores are inverted for inner products, and filters are applied to the best 20
    hits only, so that a rare modality is never seen. Here the metric comes from the index, norms are checked
    (``FaissCosines``), and a filter restricts the search itself.

    Adding, deleting, merging and documents that are replaced in an ``InMemoryDocstore`` are seen by the next search,
    which begins with a check: vectors are sampled (``IndexStamp``), and where rows are selected, every document is
    compared with the one that was there, by identity (some 0.3 ms at 20,000). A document whose metadata is edited in
    place keeps the modality it had when it was first seen, and so does one that is replaced in another docstore.
    """

    concurrent = True

    def __init__(self, store: Any, view: View) -> None:
        self.store = store
        self.view = view
        self._snapshot: _Snapshot | None = None

    @property
    def score_kind(self) -> Any:
        """What scores are turned into cosines from: true cosines, unless a kind was named."""
        return self.view.score_kind or "cosine"

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return int(self.store.index.d)

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents closest to each question, in one FAISS call."""
        snapshot = self._current()
        found = snapshot.cosines.top(question_rows(questions, self.view.modality, self.dimension), k)
        return [self._candidates(snapshot, rows.tolist(), cosines) for rows, cosines in found]

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the index's own numbers beside its vectors, for the self-check."""
        snapshot = self._current()
        rows = question_rows(questions, self.view.modality, self.dimension)
        return snapshot.cosines.probe(rows, k, lambda found: [snapshot.names[row] for row in found])

    @property
    def needs_check(self) -> bool:
        """Whether a score kind was named; if not, metric and norms of the index are looked at anyway."""
        return self.view.score_kind is not None

    @property
    def lossy_vectors(self) -> bool:
        """Whether the index compresses vectors, so that those it gives are decoded."""
        return self._current().cosines.lossy

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield ids and vectors of all rows that are searched, ``size`` at a time; raises as ``stored_rows``."""
        step, snapshot = check_size(size), self._current()
        for rows in row_pages(snapshot.cosines, step):
            yield self._ids(snapshot, rows.tolist()), snapshot.cosines.stored(rows)

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the vectors (n, d) of documents; raises as ``scan`` and ``picked``."""
        return picked(self.scan(), ids, "this FAISS store")

    def _ids(self, snapshot: _Snapshot, rows: list[int]) -> list[str]:
        names, docstore = snapshot.names, snapshot.docstore
        if self.view.id_key is None and all(row in names for row in rows):
            return [names[row] for row in rows]
        documents = [_document(docstore, names, row) for row in rows]
        return [self.view.id_of(document, document.id) for document in documents]

    def _candidates(self, snapshot: _Snapshot, rows: list[int], cosines: Any) -> Candidates:
        names, docstore = snapshot.names, snapshot.docstore
        if self.view.id_key is None and all(row in names for row in rows):
            # Documents are only fetched for the hits that are kept: half of them, with two modalities.
            return Candidates([names[row] for row in rows], cosines, [_Row(docstore, names, row) for row in rows])
        documents = [_document(docstore, names, row) for row in rows]
        return Candidates([self.view.id_of(document, document.id) for document in documents], cosines, documents)

    def _current(self) -> _Snapshot:
        store = self.store
        index, names, docstore = store.index, store.index_to_docstore_id, store.docstore
        known = self._snapshot
        documents = _held(docstore) if self.view.restricted else []
        # Deleting gives the store a new dict of names.
        same = known is not None and known.docstore is docstore and known.names is names and known.last.hold(names)
        if known is not None and same and known.cosines.holds(index) and begins_with(documents, known.documents):
            if known.cosines.count == index.ntotal:
                return known
            last = LastItems(names)
            cosines = self._follow(known)
        else:
            last = LastItems(names)
            cosines = self._look(index, self._rows(docstore, names, 0, index.ntotal))
        self._snapshot = known = _Snapshot(index, names, docstore, cosines, last, documents)
        return known

    def _look(self, index: Any, rows: Rows | None) -> FaissCosines:
        return FaissCosines(index, rows, self.view.score_kind)

    def _follow(self, known: _Snapshot) -> FaissCosines:
        old = known.cosines
        rows = None
        if old.rows is not None:
            added = self._rows(known.docstore, known.names, old.count, known.index.ntotal)
            rows = np.concatenate([old.rows, added]) if added is not None else None
        return old.grown(rows) or self._look(known.index, rows)

    def _rows(self, docstore: Any, names: dict[int, str], start: int, stop: int) -> Rows | None:
        """Find the rows in view; None if all are, whatever they hold."""
        view = self.view
        if not view.restricted:
            return None
        tests = [self.store._create_filter_func(c) for c in (view.modality_filter, view.filter) if c is not None]
        chosen = []
        for row in range(start, stop):
            metadata = _document(docstore, names, row).metadata
            if view.modality_filter is None and not view.labeled(metadata, names[row]):
                continue
            if all(test(metadata) for test in tests):
                chosen.append(row)
        return np.array(chosen, dtype=np.int64)


def _held(docstore: Any) -> list[Any]:
    """List the documents of an ``InMemoryDocstore``; one of another kind is not looked into."""
    documents = getattr(docstore, "_dict", None)
    return list(documents.values()) if isinstance(documents, dict) else []


class _Row(NamedTuple):
    """A document that is fetched when it is needed."""

    docstore: Any
    names: dict[int, str]
    row: int

    def __call__(self) -> Document:
        return _document(self.docstore, self.names, self.row)


def _document(docstore: Any, names: dict[int, str], row: int) -> Document:
    document = docstore.search(names[row]) if row in names else None
    if not isinstance(document, Document):
        raise SourceError(
            f"row {row} of the FAISS index has no document ({document!r}); index, index_to_docstore_id and docstore "
            f"do not belong together: save and load them with save_local and load_local"
        )
    return document
