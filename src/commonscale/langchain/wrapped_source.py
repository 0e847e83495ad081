"""A source of the core as one that gives LangChain documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.around import SiftingSource
from commonscale.core.changes import Watchable
from commonscale.core.errors import UnreadableVectorsError
from commonscale.core.pages import PAGE, Page, picked
from commonscale.core.scanning import scan
from commonscale.core.types import Candidates, Source, Vector
from commonscale.langchain.documents import as_document
from commonscale.langchain.view import View, equality_test


class WrappedSource(SiftingSource):
    """Passes questions on and turns payloads into documents.

    A payload may be a LangChain Document, a Document of ``commonscale.index``, a string, or missing. Filters
    are applied to the hits, and the source is searched deeper until ``k`` pass or no document is left, so a
    filter never starves a modality.
    """

    def __init__(self, source: Source, view: View) -> None:
        """Wrap ``source``."""
        super().__init__(source, view.modality)
        self.view = view
        tests = [equality_test(c, "filter") for c in (view.modality_filter, view.filter) if c is not None]
        if view.modality_key is not None and view.modality_filter is None:
            tests.insert(0, lambda document: view.labeled(document.metadata, str(document.id)))
        self._tests: list[Callable[[Document], bool]] = tests

    @property
    def score_kind(self) -> Any:
        """What scores are turned into cosines from: a source that does not say gives true cosines."""
        return getattr(self._source, "score_kind", "cosine")

    @property
    def changes(self) -> Watchable | None:
        """Tells when documents come and go, if the source does."""
        told: Watchable | None = getattr(self._source, "changes", None)
        if told is None or not (self._tests or self.view.id_key):
            return told
        return replace(told, obstacle="the retriever has filters or id_key=, so that not all documents count alike")

    def sift(self, found: Candidates, k: int) -> Candidates:
        """Name and filter the documents."""
        payloads = found.payloads if found.payloads is not None else [None] * len(found.ids)
        documents = [as_document(p, i, self.view.modality) for p, i in zip(payloads, found.ids, strict=True)]
        ids = [self.view.id_of(d, i) for d, i in zip(documents, found.ids, strict=True)]
        if not self._tests:
            return Candidates(ids, found.cosines, documents)
        kept = [i for i, document in enumerate(documents) if all(test(document) for test in self._tests)][:k]
        rows = np.array(kept, dtype=np.intp)
        return Candidates([ids[i] for i in kept], found.cosines[rows], [documents[i] for i in kept])

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield ids and vectors of the source's own ``scan``, as far as they pass the filters.

        Raises:
            UnreadableVectorsError: if the source has none; or if documents are filtered or named by what they hold,
                and it has no ``payloads_of(ids)`` to give them.
        """
        looks = bool(self._tests) or self.view.id_key is not None
        payloads_of = getattr(self._source, "payloads_of", None)
        if looks and payloads_of is None and hasattr(self._source, "scan"):
            raise UnreadableVectorsError(
                f"the {self.store_name} of modality {self.view.modality!r} gives vectors without documents, so they "
                f"cannot be filtered or named by id_key=; give it a method payloads_of(ids), or leave these out"
            )
        for ids, vectors in scan(self._source, self.view.modality, size):
            if not looks or payloads_of is None:
                yield ids, vectors
                continue
            payloads = payloads_of(ids)
            documents = [as_document(p, i, self.view.modality) for p, i in zip(payloads, ids, strict=True)]
            own = [i for i, document in enumerate(documents) if all(test(document) for test in self._tests)]
            if own:
                yield [self.view.id_of(documents[i], ids[i]) for i in own], vectors[own]

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the vectors (n, d) of documents; raises as ``scan`` and ``picked``."""
        if not self._tests and self.view.id_key is None and hasattr(self._source, "vectors_of"):
            vectors: Vector = self._source.vectors_of(ids)
            return vectors
        return picked(self.scan(), ids, f"the {self.store_name}")
