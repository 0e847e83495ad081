"""Chroma, asked through its own collections: many questions in one call, exactly where a filter leaves few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from commonscale.core.errors import UnknownScoreKindError
from commonscale.core.types import Floats, Vector
from commonscale.stores.chroma_records import (
    Hits,
    Space,
    cut,
    found_of,
    listed,
    records_of,
    refuse_null,
    space_of,
    stored,
    vectors_of,
    watched,
)
from commonscale.stores.table import Found

_KINDS = {"cosine": "cosine_distance", "ip": "inner_product_distance", "l2": "squared_l2"}

_BATCH = 100
"""Questions in one call: a server limits the size of what it takes."""

FEW = 500
"""Documents that are compared one by one, where a filter leaves no more: at 512 dimensions that takes 40 ms, and
HNSW, asked for 20 among the 50 documents that a filter left of 5,000, missed up to 2 of them in every answer."""

_PER_QUESTION = 50
"""The same for each of many questions, since the vectors are read once for all: HNSW takes as long per question."""

_MOST = 5000
"""Documents that are compared one by one at most in place of asking HNSW, and whose vectors are in memory at once."""

_WIDE = 400
"""Candidates that HNSW is asked for under a filter, from which the best are kept. HNSW walks the whole graph to find
what passes a filter and stops early: of 5,000 images beside as many texts in one collection (512 dimensions), 20
candidates held 0.969 of the 20 best, 400 held 0.999, and one question still took 1.2 times as long only."""


class _Many(NamedTuple):
    """That a filter left more than ``limit`` documents, when the collection held ``total``."""

    collection: Any
    total: int
    limit: int


class _Best(NamedTuple):
    """Ids with their cosines and norms, best first once they were joined."""

    ids: Sequence[str]
    cosines: Floats
    norms: Floats

    def joined(self, other: _Best, k: int) -> _Best:
        """Give the best ``k`` of both."""
        cosines, norms = np.append(self.cosines, other.cosines), np.append(self.norms, other.norms)
        order = np.argsort(-cosines, kind="stable")[:k]
        ids = [*self.ids, *other.ids]
        return _Best([ids[place] for place in order], cosines[order], norms[order])


class ChromaTable:
    """One collection of Chroma, or what a filter leaves of it.

    In cosine space Chroma's distance is ``1 - cosine``, whatever the norms are, so it is taken as it is; a null
    vector, whose distance would be 1, is refused. In the spaces ``l2`` (squared) and ``ip`` stored vectors are read
    along, and the cosine is computed from them.

    Without a filter, what is found depends on the HNSW settings of the collection (``ef_search``, 100 by default).
    With one, HNSW is only asked if many documents pass; otherwise they are all compared.
    """

    def __init__(
        self,
        collection: Callable[[], Any],
        where: dict[str, Any] | None = None,
        *,
        number: Callable[[Any], Any] | None = None,
        kinds: dict[str, str] | None = None,
    ) -> None:
        """Set up the table.

        Args:
            collection: gives the ``chromadb.Collection`` as it is now.
            where: Chroma's own filter of metadata, see ``where_of``.
            number: what the framework makes of an array of distances; None if it gives them as they are.
            kinds: what ``number`` makes of distances is called, by space.
        """
        self._open = collection
        self._where = where
        self._number = number
        self._kinds = kinds or _KINDS
        self._many: _Many | None = None
        self._dimension: tuple[Any, int] | None = None

    @property
    def score_kind(self) -> str | None:
        """The kind of the collection's distance; None if its settings do not say.

        Raises:
            UnknownScoreKindError: if it compares by something of which no cosine can be made.
        """
        space = self._known(self._open()).space
        return None if space is None else self._kinds[space]

    @property
    def trusted(self) -> bool:
        """Whether distances are those of cosines; the index of Chroma's cloud may compute them from less."""
        return self._known(self._open()) == ("hnsw", "cosine")

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None while the collection is empty."""
        collection = self._open()
        known = self._dimension
        if known is None or known[0] != collection.id:
            with watched(collection):
                some = collection.get(limit=1, include=["embeddings"])["embeddings"]
            if some is None or len(some) == 0:
                return None
            known = self._dimension = (collection.id, len(some[0]))
        return known[1]

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search: what passes a filter that leaves few is compared exactly, anything else is left to the index."""
        collection = self._open()
        with watched(collection):
            all_of = self._few(collection, len(rows))
            if all_of is None:
                hits, found = self._nearest(collection, rows, k, with_vectors)
                all_of = self._missed(collection, hits, k)
            if all_of is not None:
                hits = self._compared(collection, rows, k, all_of)
                found = found_of(hits, records_of(collection, hits, with_vectors), with_vectors)
            if not with_vectors and space_of(collection).space == "cosine":
                refuse_null(collection, hits)
        if self._number is None:
            return found
        number = self._number
        return [Found(one.ids, number(np.asarray(one.numbers)), one.payloads, one.vectors) for one in found]

    def pages(self, size: int, with_payloads: bool) -> Iterator[Found]:
        """Read all records that pass the filter, ``size`` at a time, by ids that are listed first.

        By ids, since of ``limit`` and ``offset`` a deletion meanwhile would hide other records.
        """
        collection = self._open()
        with watched(collection):
            for ids in cut(listed(collection, self._where), size):
                yield stored(collection, ids, with_payloads)

    def by_id(self, ids: Sequence[str]) -> Found:
        """Read the records with these ids, as far as they are there."""
        collection = self._open()
        with watched(collection):
            return stored(collection, ids, with_payloads=False)

    def _known(self, collection: Any) -> Space:
        read = space_of(collection)
        if read.space is not None and read.space not in self._kinds:
            raise UnknownScoreKindError(
                f"the Chroma collection {collection.name!r} compares by {read.space!r}, of which no cosine can be "
                f"made; create it with one of the spaces: {', '.join(self._kinds)} (cosine is best)"
            )
        return read

    def _few(self, collection: Any, questions: int) -> list[str] | None:
        """List the documents that pass the filter, if they are few."""
        if self._where is None:
            return None
        limit = min(_MOST, max(FEW, _PER_QUESTION * questions))
        many = self._many
        # Counting all documents takes a tenth of the time of listing those that pass; only then is it done again.
        if many and many.collection == collection.id and many.limit >= limit and many.total == collection.count():
            return None
        ids = listed(collection, self._where, limit + 1)
        if len(ids) <= limit:
            return ids
        self._many = _Many(collection.id, collection.count(), limit)
        return None

    def _missed(self, collection: Any, hits: Sequence[Hits], k: int) -> list[str] | None:
        """List all documents, if HNSW did not reach as many as it was asked for although there are more.

        Its graph falls apart where many vectors are equal: of 2,000 it reached 708. Then they are all compared, however
        many they are: 2 s for 10,000 of 512 dimensions, on two busy cores.
        """
        least = min((len(one.ids) for one in hits), default=k)
        if least >= k or (self._where is None and least >= collection.count()):
            return None
        ids = listed(collection, self._where)
        return ids if len(ids) > least else None

    def _nearest(self, collection: Any, rows: Vector, k: int, with_vectors: bool) -> tuple[list[Hits], list[Found]]:
        if len(rows) == 1 and self._where is None and k <= _WIDE:
            include = ["distances", "documents", "metadatas", *(["embeddings"] if with_vectors else [])]
            answer = collection.query(query_embeddings=rows, n_results=k, include=include)
            flat = {name: answer[name][0] for name in ("ids", *include)}
            hits = [Hits(flat["ids"], flat["distances"])]
            return hits, found_of(hits, records_of(collection, hits, with_vectors, answer=flat), with_vectors)
        # Contents (whole pictures, in LangChain) are read once for what is kept, and not for every question.
        hits = []
        for start in range(0, len(rows), _BATCH):
            answer = collection.query(
                query_embeddings=rows[start : start + _BATCH],
                n_results=k if self._where is None else max(k, _WIDE),
                where=self._where,
                include=["distances"],
            )
            hits += [Hits(i[:k], d[:k]) for i, d in zip(answer["ids"], answer["distances"], strict=True)]
        return hits, found_of(hits, records_of(collection, hits, with_vectors), with_vectors)

    def _compared(self, collection: Any, rows: Vector, k: int, ids: Sequence[str]) -> list[Hits]:
        """Find the best of some documents by their cosines, with the distances that Chroma would give."""
        best = [_Best([], np.empty(0), np.empty(0))] * len(rows)
        for start in range(0, len(ids), _MOST):
            kept, vectors = vectors_of(collection, ids[start : start + _MOST])
            if not kept:
                continue
            norms = np.linalg.norm(vectors, axis=1)
            unit = vectors / np.where(norms > 0, norms, 1.0)[:, None]
            part = [_Best(kept, unit @ row, norms) for row in rows.astype(np.float64)]
            best = [one.joined(other, k) for one, other in zip(best, part, strict=True)]
        space = space_of(collection).space
        hits = []
        for names, cosines, length in best:
            distances = {"ip": 1 - cosines * length, "l2": 1 + length**2 - 2 * cosines * length}
            hits.append(Hits(names, distances.get(str(space), 1 - cosines).tolist()))
        return hits
