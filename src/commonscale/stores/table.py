"""The contract of a vector database, and the source of true cosines that every one of them becomes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from commonscale.core.cosines import Converter, cosines_with, to_cosine
from commonscale.core.errors import CommonscaleWarning, InvalidInputError, SourceError
from commonscale.core.passing import is_passing
from commonscale.core.question_vectors import question_rows
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Floats, Modality, Probe, Question, Vector
from commonscale.core.warn import warn
from commonscale.stores.table_vectors import TableVectors, matrix_of


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a database returned for one vector, in the database's order.

    Attributes:
        ids: the database's ids (n).
        numbers: the database's own numbers (n,): scores or distances, as they came.
        payloads: what the database keeps beside each vector (n), in its own form.
        vectors: the stored vectors (n, d), as stored; None if they were not asked for.
    """

    ids: Sequence[str]
    numbers: Sequence[float]
    payloads: Sequence[Any]
    vectors: Sequence[Any] | None = None


class Table(Protocol):
    """One searchable set of vectors in a database, perhaps restricted by a filter.

    A table may also have ``async def asearch(rows, k, with_vectors)`` with the same meaning, if its client is truly
    asynchronous; it is then used instead of a thread. Its property ``absent``, if it has one, names what the last
    search has not found in the database, such as ``"the Qdrant collection 'docs'"``, None if it was there; it asks no
    server. ``version`` and ``read_version()`` tell when the database was set up anew (see ``FirstUse``). ``pages`` and
    ``by_id`` give the vectors themselves (see ``TableVectors``).
    """

    @property
    def score_kind(self) -> str | Converter | None:
        """What the database's numbers mean, read from its settings; None if no function of them is the cosine."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether the numbers are the cosines of the stored vectors as they are, of any norm and uncompressed."""
        ...

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None while that is not known."""
        ...

    def search(self, rows: Vector, k: int, with_vectors: bool) -> Sequence[Found]:
        """Find the ``k`` vectors that the database holds closest to each row, in one call where it can.

        Args:
            rows: unit rows (q, d), float32.
            k: how many, at least 1.
            with_vectors: whether stored vectors are needed too.

        Returns:
            One ``Found`` per row.
        """
        ...


Read = Callable[[str, Any], tuple[str, Any]]
"""Turns a database's id and payload into a document's id and the framework's node or document."""


class TableSource(TableVectors):
    """A table as a source of true cosines.

    The table's number is taken for the cosine only where it is one (``Table.trusted``); otherwise the stored vectors
    come along with the hits and the cosine is computed from them, or, where ``score_kind`` names what the number is
    and vectors cannot be had, converted.

    Attributes:
        concurrent: whether helping threads may search it.
        remote: whether the database is another process, which may be down or slow.
        store_name: what messages call the store.
    """

    def __init__(
        self,
        table: Table,
        modality: Modality,
        read: Read,
        *,
        score_kind: str | Converter | None = None,
        concurrent: bool = False,
        remote: bool = False,
        after: Callable[[int], None] | None = None,
        store_name: str = "",
        own_ids: bool = True,
    ) -> None:
        """Set up the source.

        Args:
            table: the table.
            modality: the modality it is searched for.
            read: turns ids and payloads into documents.
            score_kind: convert the table's numbers as this kind instead of recomputing from vectors.
            concurrent: see the attributes.
            remote: see the attributes.
            after: told after every search how many hits there were in all, to notice a filter that matches nothing.
            store_name: see the attributes; by default the table's class.
            own_ids: whether ``read`` leaves the table's ids as they are.
        """
        self.table: Table = table
        self.concurrent = concurrent
        self.remote = remote
        self.store_name = store_name or type(table).__name__
        self._modality = modality
        self._read = read
        self._named_kind = score_kind
        self._after = after
        self._own_ids = own_ids
        self._warned = False
        if inspect.iscoroutinefunction(getattr(table, "asearch", None)):
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str | Converter:
        """What cosines are made from: true cosines, unless a kind was named."""
        return self._named_kind or "cosine"

    @property
    def dimension(self) -> int | None:
        """Length of the vectors, as far as the table knows; None too while its server cannot be asked."""
        try:
            return self.table.dimension
        except Exception as error:
            if not is_passing(error):
                raise
            # A server may be down while a retriever is made; the first search asks again, and says so.
            return None

    @property
    def version(self) -> Any:
        """The table's settings as far as they are known without asking a server; None if they are not, or never."""
        return getattr(self.table, "version", None)

    def read_version(self) -> Any:
        """Read the table's settings as they are now; None for tables that do not say."""
        read = getattr(self.table, "read_version", None)
        return None if read is None else read()

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Search the table for one or many questions."""
        rows = self._rows(questions)
        return self._candidates(rows, self.table.search(rows, k, self._with_vectors))

    async def _asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        # The table may have to ask for its settings first, by its synchronous client.
        rows, with_vectors = await off_thread(lambda: (self._rows(questions), self._with_vectors))
        table: Any = self.table
        found = await table.asearch(rows, k, with_vectors)
        return await asyncio.to_thread(self._candidates, rows, found)

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Search with the table's own numbers and stored vectors side by side, for the self-check."""
        found = self.table.search(self._rows(questions), k, True)
        kind = self._named_kind or self.table.score_kind
        converted = not self._with_vectors
        held = [matrix_of(self._modality, f.ids, f.vectors) for f in found]
        return [
            Probe(list(f.ids), np.asarray(f.numbers, np.float64), vectors, kind, converted)
            for f, vectors in zip(found, held, strict=True)
        ]

    @property
    def _with_vectors(self) -> bool:
        return self._named_kind is None and not self.table.trusted

    def _rows(self, questions: Sequence[Question]) -> Vector:
        return question_rows(questions, self._modality, self.table.dimension)

    def _candidates(self, rows: Vector, found: Sequence[Found]) -> list[Candidates]:
        hits = sum(len(one.ids) for one in found)
        absent = None if hits else getattr(self.table, "absent", None)
        if absent is not None:
            self._warn_of(absent)
        elif self._after is not None:
            self._after(hits)
        if len(found) != len(rows):
            raise SourceError(f"the {self.store_name} answered {len(found)} of {len(rows)} questions")
        return [self._one(row, one) for row, one in zip(rows, found, strict=True)]

    def _warn_of(self, absent: str) -> None:
        """Say once that nothing can be found; no error, since stores make collections when documents are added."""
        if self._warned:
            return
        self._warned = True
        warn(
            f"{absent} does not exist, so the search for {self._modality!r} documents in this {self.store_name} finds "
            f"nothing until it is created, as adding documents does; check its name",
            CommonscaleWarning,
        )

    def _one(self, row: Vector, found: Found) -> Candidates:
        if len(found.ids) == 0:
            return Candidates((), np.empty(0))
        cosines = self._cosines(row, found)
        order = np.argsort(-cosines, kind="stable").tolist()
        documents = [self._read(found.ids[place], found.payloads[place]) for place in order]
        return Candidates([i for i, _ in documents], cosines[order], [payload for _, payload in documents])

    def _cosines(self, row: Vector, found: Found) -> Floats:
        if self._named_kind is not None:
            return to_cosine(found.numbers, self._named_kind)
        if self.table.trusted:
            kind = self.table.score_kind
            return to_cosine(found.numbers, "cosine" if kind is None else kind)
        vectors = matrix_of(self._modality, found.ids, found.vectors)
        if vectors is None:
            raise SourceError(
                f"the store of modality {self._modality!r} returned hits without their vectors, so their cosines are "
                f"not known; let it keep vectors, or name what its scores are with score_kind="
            )
        try:
            return cosines_with(row, vectors)
        except InvalidInputError as error:
            raise SourceError(_fault(self._modality, row, found.ids, vectors, error)) from error


def _fault(modality: Modality, row: Vector, ids: Sequence[str], vectors: Vector, error: Exception) -> str:
    """Name the document whose vector has no cosine."""
    if vectors.ndim == 2 and vectors.shape[1] == len(row):
        norms = np.linalg.norm(vectors, axis=1)
        bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
        if len(bad):
            return (
                f"the stored vector of document {ids[int(bad[0])]!r} (modality {modality!r}) is null or not finite, so "
                f"it has no cosine; embed that document again, or delete it from the store"
            )
    return f"the stored vectors of modality {modality!r} cannot be compared with the question: {error}"
