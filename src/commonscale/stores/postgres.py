"""PostgreSQL with pgvector, asked in SQL that returns the true cosine. Needs SQLAlchemy."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError, StatementError

from commonscale.core.errors import InvalidInputError, SourceError, UnknownScoreKindError
from commonscale.core.threads import off_thread
from commonscale.core.types import Vector
from commonscale.stores.postgres_batch import Batch
from commonscale.stores.postgres_engines import Engines, on_loop
from commonscale.stores.postgres_sql import (
    COSINE_DISTANCE,
    Catalog,
    Layout,
    Measure,
    page_statement,
    read_catalog,
    rows_statement,
    search_settings,
)
from commonscale.stores.table import Found

_TYPES = ("vector", "halfvec")


class PostgresTable:
    """One column of vectors.

    Rows are ordered by cosine distance (``<=>``), which is right for vectors of any norm, and numbers are made of it.
    Only where the store compares otherwise, has an approximate index for that and none for the cosine, that index
    decides the order (right for vectors of norm 1), and cosines are computed from the stored vectors.
    """

    def __init__(
        self,
        layout: Layout,
        measure: Measure,
        connect: Callable[[], Engines],
        *,
        own_measure: bool = False,
        settings: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Set up the table.

        Args:
            layout: where the vectors are; the table may be created later.
            measure: how the store compares vectors.
            connect: gives the engines; called before every search, in a thread that may wait.
            own_measure: whether the store's own number is wanted whatever it is: the user has said what it means.
            settings: the store's own settings of its index, by name.
        """
        self._layout = layout
        self._own = measure
        self._follow = own_measure
        self._connect = connect
        self._settings = settings
        self._known: Catalog | None = None
        self._used: Measure | None = None
        self._absent = False

    @property
    def score_kind(self) -> str:
        """The kind of the numbers."""
        return self._measure().kind

    @property
    def trusted(self) -> bool:
        """Whether the numbers are made of cosine distances."""
        return self._measure().operator == COSINE_DISTANCE.operator

    @property
    def dimension(self) -> int | None:
        """Length of the vectors. None also where asking the server would keep an event loop waiting, or fails."""
        catalog = self.read_version() if self._known is None else self._known
        return None if catalog is None else catalog.dimension

    @property
    def version(self) -> Catalog | None:
        """What the last search found the column of vectors to be like; None if it failed, or was none yet."""
        return self._known

    def read_version(self) -> Catalog | None:
        """Ask what the column of vectors is like now; None where that would keep an event loop waiting, or fails."""
        if on_loop():
            return None
        try:
            asked = self._connect().ask(lambda connection, _: [self._catalog(connection)], np.zeros((1, 1), np.float32))
        except (SQLAlchemyError, OSError):
            return None  # The search that follows says what is wrong.
        return asked[0]

    @property
    def absent(self) -> str | None:
        """Name the table if the last search did not find it, or its column of vectors."""
        return (
            f"the PostgreSQL table {self._layout.name} with a column {self._layout.embedding!r}"
            if self._absent
            else None
        )

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search question by question, on the connections that the store's pool keeps."""
        batch = Batch(self._layout, k, with_vectors)
        answers = self._connect().ask(partial(self._answers, batch=batch), rows)
        return self._found(answers, batch)

    async def asearch(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """As ``search``, through the store's asynchronous engine where it has one."""
        batch = Batch(self._layout, k, with_vectors)
        engines = await off_thread(self._connect)
        answers = await engines.aask(partial(self._answers, batch=batch), rows)
        return await asyncio.to_thread(self._found, answers, batch)

    def pages(self, size: int, with_payloads: bool) -> Iterator[Found]:
        """Read all rows that have a vector and pass the filter, in the order of their key, ``size`` at a time.

        Each page is a transaction of its own, which begins behind the last key: nothing is held open meanwhile.
        """
        last: Any = None
        while True:
            statement = page_statement(self._layout, size, after=last, with_payload=with_payloads)
            rows = self._all(statement)
            yield self._read_back(rows, with_payloads)
            if len(rows) < size:
                return
            last = rows[-1][2]

    def by_id(self, ids: Sequence[str]) -> Found:
        """Read the rows with these ids, as far as they are there."""
        if not ids:
            return Found((), (), (), ())
        try:
            rows = self._all(rows_statement(self._layout, ids))
        except (OperationalError, InterfaceError):
            raise
        except StatementError:
            # Ids that are numbers are not compared with texts; as texts they are, without their index.
            rows = self._all(rows_statement(self._layout, ids, as_text=True))
        return self._read_back(rows, with_payloads=False)

    def _all(self, statement: Any) -> Sequence[Any]:
        def work(connection: Any, _: Vector) -> list[Any]:
            if self._catalog(connection) is None:
                return [()]
            return [connection.execute(statement).all()]

        rows: Sequence[Any] = self._connect().ask(work, np.zeros((1, 1), np.float32))[0]
        return rows

    def _read_back(self, rows: Sequence[Any], with_payloads: bool) -> Found:
        payloads = [row._mapping for row in rows] if with_payloads else []
        return Found([str(row[0]) for row in rows], (), payloads, [_numbers(row[1]) for row in rows])

    def _answers(self, connection: Any, rows: Vector, batch: Batch) -> list[Any]:
        """Give the database's rows for every question."""
        try:
            if batch.catalog is None:
                # In every search: the table may have been dropped and made anew, with other vectors or indexes.
                found = self._catalog(connection)
                # In this order: other connections of the batch rely on both when there is a catalog.
                batch.measure, batch.catalog = self._measure(), found
            catalog = batch.catalog
            self._absent = catalog is None
            if catalog is None or catalog.dimension is None:
                self._known = None
                return [[] for _ in rows]
            if rows.shape[1] != catalog.dimension:
                self._known = None
                raise InvalidInputError(
                    f"the question has {rows.shape[1]} dimensions, but the vectors in {self._layout.name} have "
                    f"{catalog.dimension}; embed questions and documents with the same encoder"
                )
            self._known = catalog
            order = self._order(catalog)
            if (settings := search_settings(catalog, order, self._settings)) is not None:
                connection.execute(settings)
            return [batch.answer(connection, catalog, order, row) for row in rows]
        except (OperationalError, InterfaceError):
            raise
        except StatementError as error:
            if getattr(error, "connection_invalidated", False):
                raise
            self._known = None
            raise SourceError(
                f"PostgreSQL refuses the search of {self._layout.name}: {str(error.orig).strip()}; check the filter "
                f"(under its keys there may be values of different types), and that all vectors there have the "
                f"{rows.shape[1]} dimensions of the question"
            ) from error

    def _catalog(self, connection: Any) -> Catalog | None:
        """Ask what the column of vectors is like; the first answer decides what numbers are made by."""
        catalog = read_catalog(connection, self._layout, self._known)
        if catalog is None:
            return None
        if catalog.type not in _TYPES:
            raise UnknownScoreKindError(
                f"the column {self._layout.embedding!r} of {self._layout.name} has the type {catalog.type}, of which "
                f"no cosine is made here; keep vectors in a column of type {' or '.join(_TYPES)}"
            )
        if self._used is None:
            own = catalog.has_index(self._own) and not catalog.has_index(COSINE_DISTANCE)
            self._used = self._own if own else COSINE_DISTANCE
        return catalog

    def _order(self, catalog: Catalog) -> Measure:
        """Give what to order by: the store's own measure only while it has an index for it.

        What numbers are made by stays as it was: callers know it, and make cosines of the vectors where it is not the
        cosine.
        """
        measure = self._measure()
        return measure if self._follow or catalog.has_index(measure) else COSINE_DISTANCE

    def _measure(self) -> Measure:
        if self._follow or self._own.operator == COSINE_DISTANCE.operator:
            return self._own
        return self._used or COSINE_DISTANCE

    def _found(self, answers: Sequence[Sequence[Any]], batch: Batch) -> list[Found]:
        return [self._one(rows, batch) for rows in answers]

    def _one(self, rows: Sequence[Any], batch: Batch) -> Found:
        ids = [str(row[0]) for row in rows]
        if len(set(ids)) < len(ids):
            twice = next(one for place, one in enumerate(ids) if one in ids[:place])
            raise SourceError(
                f"{self._layout.name} holds the document {twice!r} more than once (LlamaIndex's PGVectorStore adds a "
                f"node again instead of replacing it); delete it, then add it once"
            )
        for name, row in zip(ids, rows, strict=True):
            if row[1] is None or math.isnan(row[1]):
                raise SourceError(
                    f"the stored vector of document {name!r} in {self._layout.name} is null or missing, so it has no "
                    f"cosine; embed that document again, or delete it from the store"
                )
        vectors = [_numbers(row[2]) for row in rows] if batch.with_vectors else None
        return Found(ids, [batch.measure.number(row[1]) for row in rows], [row._mapping for row in rows], vectors)


def _numbers(text: str) -> Vector:
    """Read a vector that pgvector wrote as text."""
    return np.fromstring(text[1:-1], dtype=np.float32, sep=",")
