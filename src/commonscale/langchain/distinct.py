"""A source whose hits may share an id, as one that gives every id once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from commonscale.core.attempts import store_name
from commonscale.core.errors import SourceError
from commonscale.core.probing import probe_of
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Modality, Question, Source
from commonscale.core.unbounded import is_by_text, is_unbounded


class DistinctSource:
    """Keeps the best hit of every id, where ``id_key`` names what several documents belong to (chunks of a page).

    The source is searched deeper until ``k`` ids are found or no document is left, so the chunks of one page
    never starve the others.
    """

    def __init__(self, source: Source, modality: Modality) -> None:
        self.source = source
        if probe := probe_of(source):
            self.probe = probe
        self.modality = modality

    @property
    def score_kind(self) -> Any:
        """As the source's."""
        return getattr(self.source, "score_kind", None)

    @property
    def dimension(self) -> int | None:
        """As the source's."""
        return getattr(self.source, "dimension", None)

    @property
    def concurrent(self) -> bool:
        """As the source's."""
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
        """Find the ``k`` ids closest to each question."""
        kept = [Candidates((), np.empty(0))] * len(questions)
        depth, asked = k, list(range(len(questions)))
        while asked:
            found = self.source.search([questions[i] for i in asked], depth)
            asked = self._keep(kept, asked, found, k, depth)
            depth *= 2
        return kept

    async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """As ``search``: by the source's own ``asearch`` if it has one, else in a thread."""
        ask = getattr(self.source, "asearch", None)
        if not inspect.iscoroutinefunction(ask):
            return await off_thread(self.search, questions, k)
        kept = [Candidates((), np.empty(0))] * len(questions)
        depth, asked = k, list(range(len(questions)))
        while asked:
            found = await ask([questions[i] for i in asked], depth)
            asked = self._keep(kept, asked, found, k, depth)
            depth *= 2
        return kept

    def _keep(
        self, kept: list[Candidates], asked: Sequence[int], found: Sequence[Candidates], k: int, depth: int
    ) -> list[int]:
        """Keep the best hit of every id, and tell which questions are to be searched deeper."""
        if len(found) != len(asked):
            raise SourceError(
                f"the source of modality {self.modality!r} answered {len(found)} of {len(asked)} questions; "
                f"search() must return one Candidates per question"
            )
        for index, candidates in zip(asked, found, strict=True):
            kept[index] = _distinct(candidates, k)
        pairs = zip(asked, found, strict=True)
        return [i for i, candidates in pairs if len(kept[i].ids) < k and len(candidates.ids) >= depth]


def _distinct(candidates: Candidates, k: int) -> Candidates:
    first: dict[str, int] = {}
    for place, document_id in enumerate(candidates.ids):
        first.setdefault(document_id, place)
    places = list(first.values())[:k]
    payloads = candidates.payloads
    return Candidates(
        [candidates.ids[place] for place in places],
        candidates.cosines[np.array(places, dtype=np.int64)],
        None if payloads is None else [payloads[place] for place in places],
    )
