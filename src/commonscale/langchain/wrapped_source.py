"""A source of the core as one that gives LangChain documents."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.attempts import store_name
from commonscale.core.errors import SourceError
from commonscale.core.probing import probe_of
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Question, Source
from commonscale.core.unbounded import is_by_text, is_unbounded
from commonscale.langchain.documents import as_document
from commonscale.langchain.view import View, equality_test


class WrappedSource:
    """Passes questions on and turns payloads into documents.

    A payload may be a LangChain Document, a Document of ``commonscale.index``, a string, or missing. Filters
    are applied to the hits, and the source is searched deeper until ``k`` pass or no document is left, so a
    filter never starves a modality.
    """

    def __init__(self, source: Source, view: View) -> None:
        self.source = source
        if probe := probe_of(source):
            self.probe = probe
        self.view = view
        tests = [equality_test(c, "filter") for c in (view.modality_filter, view.filter) if c is not None]
        if view.modality_key is not None and view.modality_filter is None:
            tests.insert(0, lambda document: view.labeled(document.metadata, str(document.id)))
        self._tests: list[Callable[[Document], bool]] = tests

    @property
    def score_kind(self) -> Any:
        """What scores are turned into cosines from: a source gives true cosines."""
        return getattr(self.source, "score_kind", "cosine")

    @property
    def dimension(self) -> int | None:
        """Length of the vectors, if the source says."""
        return getattr(self.source, "dimension", None)

    @property
    def concurrent(self) -> bool:
        """Whether it may be searched in a helping thread: if the source says so."""
        return bool(getattr(self.source, "concurrent", False))

    @property
    def needs_check(self) -> bool:
        """Whether it is checked before the first search: unless the source says that it need not be."""
        return bool(getattr(self.source, "needs_check", True))

    @property
    def remote(self) -> bool:
        """Whether it asks another process: if the source says so."""
        return bool(getattr(self.source, "remote", False))

    @property
    def unbounded(self) -> bool:
        """Whether scores are of another kind than cosines: if the source says so."""
        return is_unbounded(self.source)

    @property
    def by_text(self) -> bool:
        """Whether it searches by words: if the source says so."""
        return is_by_text(self.source)

    @property
    def store_name(self) -> str:
        """What messages call it."""
        return store_name(self.source)

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` documents closest to each question."""
        depth = k
        found = self._seen(self.source.search(questions, depth), questions)
        kept = self._kept(found, k)
        while short := self._short(found, kept, k, depth):
            depth *= 2
            deeper = self._seen(self.source.search([questions[i] for i in short], depth), short)
            self._replace(found, kept, short, deeper, k)
        return kept

    async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """As ``search``: by the source's own ``asearch`` if it has one, else in a thread."""
        ask = getattr(self.source, "asearch", None)
        if not inspect.iscoroutinefunction(ask):
            return await off_thread(self.search, questions, k)
        depth = k
        found = self._seen(await ask(questions, depth), questions)
        kept = self._kept(found, k)
        while short := self._short(found, kept, k, depth):
            depth *= 2
            deeper = self._seen(await ask([questions[i] for i in short], depth), short)
            self._replace(found, kept, short, deeper, k)
        return kept

    def _seen(self, found: Sequence[Candidates], asked: Sequence[Any]) -> list[Candidates]:
        if len(found) != len(asked):
            raise SourceError(
                f"the source of modality {self.view.modality!r} answered {len(found)} of {len(asked)} questions; "
                f"search() must return one Candidates per question"
            )
        return [self._with_documents(candidates) for candidates in found]

    def _with_documents(self, candidates: Candidates) -> Candidates:
        payloads = candidates.payloads if candidates.payloads is not None else [None] * len(candidates.ids)
        documents = [as_document(p, i, self.view.modality) for p, i in zip(payloads, candidates.ids, strict=True)]
        ids = [self.view.id_of(d, i) for d, i in zip(documents, candidates.ids, strict=True)]
        return Candidates(ids, candidates.cosines, documents)

    def _kept(self, found: Sequence[Candidates], k: int) -> list[Candidates]:
        return [self._passing(candidates, k) for candidates in found]

    def _passing(self, candidates: Candidates, k: int) -> Candidates:
        if not self._tests:
            return candidates
        documents = candidates.payloads or []
        kept = [i for i, document in enumerate(documents) if all(test(document) for test in self._tests)][:k]
        rows = np.array(kept, dtype=np.int64)
        return Candidates([candidates.ids[i] for i in kept], candidates.cosines[rows], [documents[i] for i in kept])

    def _short(self, found: Sequence[Candidates], kept: Sequence[Candidates], k: int, depth: int) -> list[int]:
        pairs = enumerate(zip(found, kept, strict=True))
        return [i for i, (all_, some) in pairs if len(some.ids) < k and len(all_.ids) >= depth]

    def _replace(
        self,
        found: list[Candidates],
        kept: list[Candidates],
        short: Sequence[int],
        deeper: Sequence[Candidates],
        k: int,
    ) -> None:
        for index, candidates in zip(short, deeper, strict=True):
            found[index] = candidates
            kept[index] = self._passing(candidates, k)
