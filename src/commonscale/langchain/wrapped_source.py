"""A source of the core as one that gives LangChain documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.around import SiftingSource
from commonscale.core.types import Candidates, Source
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
