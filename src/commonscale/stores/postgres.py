"""PostgreSQL with pgvector, asked in SQL that returns the true cosine. Needs SQLAlchemy."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError, StatementError

from commonscale.core.errors import InvalidInputError, SourceError, UnknownScoreKindError
from commonscale.core.threads import off_thread
from commonscale.core.types import Vector
from commonscale.stores.postgres_engines import Engines, on_loop
from commonscale.stores.postgres_sql import (
    COSINE_DISTANCE,
    QUESTION,
    Catalog,
    Layout,
    Measure,
    read_catalog,
    search_settings,
    search_statement,
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
        if self._known is None and not on_loop():
            try:
                self._connect().ask(lambda connection, _: [self._catalog(connection)], np.zeros((1, 1), np.float32))
            except (SQLAlchemyError, OSError):
                return None  # The search that follows says what is wrong.
        return None if self._known is None else self._known.dimension

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search question by question, on the connections that the store's pool keeps."""
        answers = self._connect().ask(partial(self._answers, k=k, with_vectors=with_vectors), rows)
        return self._found(answers, with_vectors)

    async def asearch(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """As ``search``, through the store's asynchronous engine where it has one."""
        engines = await off_thread(self._connect)
        answers = await engines.aask(partial(self._answers, k=k, with_vectors=with_vectors), rows)
        return await asyncio.to_thread(self._found, answers, with_vectors)

    def _answers(self, connection: Any, rows: Vector, k: int, with_vectors: bool) -> list[Any]:
        """Give the database's rows for every question."""
        try:
            catalog = self._catalog(connection)
            if catalog is None or catalog.dimension is None:
                return [[] for _ in rows]
            if rows.shape[1] != catalog.dimension:
                raise InvalidInputError(
                    f"the question has {rows.shape[1]} dimensions, but the vectors in {self._layout.name} have "
                    f"{catalog.dimension}; embed questions and documents with the same encoder"
                )
            measure = self._measure()
            ask = _Ask(connection, self._layout, measure, k, with_vectors)
            if (settings := search_settings(catalog, measure, self._settings)) is not None:
                connection.execute(settings)
            return [self._answer(ask, catalog, row) for row in rows]
        except (OperationalError, InterfaceError):
            raise
        except StatementError as error:
            if getattr(error, "connection_invalidated", False):
                raise
            raise SourceError(
                f"PostgreSQL refuses the search of {self._layout.name}: {str(error.orig).strip()}; check the filter: "
                f"its values for quotes and colons, the metadata under its keys for values of different types"
            ) from error

    def _answer(self, ask: _Ask, catalog: Catalog, row: Vector) -> list[Any]:
        question = _as_text(row)
        found = ask(catalog, question, exact=False)
        if len(found) >= ask.k:
            return found
        if not catalog.has_index(ask.measure):
            # None was there at the first search; one may have been made since.
            fresh = read_catalog(ask.connection, self._layout)
            if fresh is None or not fresh.has_index(ask.measure):
                return found
            self._known = catalog = replace(catalog, indexes=fresh.indexes)
        # Either there are no more, or the approximate index has not found them: it ends after hnsw.max_scan_tuples
        # rows, leaves out null vectors, and before pgvector 0.8 it read only ef_search rows.
        return ask(catalog, question, exact=True)

    def _catalog(self, connection: Any) -> Catalog | None:
        if self._known is not None:
            return self._known
        catalog = read_catalog(connection, self._layout)
        if catalog is None:
            return None
        if catalog.type not in _TYPES:
            raise UnknownScoreKindError(
                f"the column {self._layout.embedding!r} of {self._layout.name} has the type {catalog.type}, of which "
                f"no cosine is made here; keep vectors in a column of type {' or '.join(_TYPES)}"
            )
        if self._used is None and catalog.has_index(self._own) and not catalog.has_index(COSINE_DISTANCE):
            self._used = self._own
        if catalog.dimension is not None:
            self._known = catalog
        return catalog

    def _measure(self) -> Measure:
        if self._follow or self._own.operator == COSINE_DISTANCE.operator:
            return self._own
        return self._used or COSINE_DISTANCE

    def _found(self, answers: Sequence[Sequence[Any]], with_vectors: bool) -> list[Found]:
        measure = self._measure()
        return [self._one(rows, measure, with_vectors) for rows in answers]

    def _one(self, rows: Sequence[Any], measure: Measure, with_vectors: bool) -> Found:
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
        vectors = [np.fromstring(row[2][1:-1], dtype=np.float32, sep=",") for row in rows] if with_vectors else None
        return Found(ids, [measure.number(row[1]) for row in rows], [row._mapping for row in rows], vectors)


class _Ask:
    """Asks for the ``k`` rows closest to a question on one connection."""

    def __init__(self, connection: Any, layout: Layout, measure: Measure, k: int, with_vectors: bool) -> None:
        self.connection = connection
        self.measure = measure
        self.k = k
        self._layout = layout
        self._with_vectors = with_vectors

    def __call__(self, catalog: Catalog, question: str, *, exact: bool) -> list[Any]:
        statement = search_statement(
            self._layout, catalog, self.measure, self.k, with_vectors=self._with_vectors, exact=exact
        )
        return list(self.connection.execute(statement, {QUESTION: question}).all())


def _as_text(row: Vector) -> str:
    return "[" + ",".join(map(repr, row.tolist())) + "]"
