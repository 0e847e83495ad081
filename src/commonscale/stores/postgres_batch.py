"""The questions of one search in PostgreSQL: what one of them shows about the table serves the others."""

from __future__ import annotations

from typing import Any

from commonscale.core.types import Vector
from commonscale.stores.postgres_sql import (
    COSINE_DISTANCE,
    QUESTION,
    Catalog,
    Layout,
    Measure,
    read_catalog,
    search_statement,
)


class Batch:
    """Asks for the ``k`` rows closest to each of many questions, on one connection or on several at once.

    Attributes:
        catalog: what the server says of the column of vectors; None until a connection has asked.
        measure: what the numbers are made by.
        with_vectors: whether rows have vectors too.
    """

    def __init__(self, layout: Layout, k: int, with_vectors: bool) -> None:
        """Set up the batch.

        Args:
            layout: where the vectors are.
            k: how many rows are wanted.
            with_vectors: whether vectors are needed too.
        """
        self.catalog: Catalog | None = None
        self.measure: Measure = COSINE_DISTANCE
        self._layout = layout
        self._k = k
        self.with_vectors = with_vectors
        self._few = False

    def answer(self, connection: Any, catalog: Catalog, order: Measure, row: Vector) -> list[Any]:
        """Give the rows closest to one question.

        Args:
            connection: where to ask.
            catalog: the column of vectors.
            order: what to order by.
            row: the question.
        """
        question = "[" + ",".join(map(repr, row.tolist())) + "]"

        def ask(exact: bool) -> list[Any]:
            statement = search_statement(
                self._layout,
                catalog,
                self.measure,
                self._k,
                order=order,
                with_vectors=self.with_vectors,
                exact=exact,
            )
            return list(connection.execute(statement, {QUESTION: question}).all())

        if self._few:
            return ask(exact=True)
        found = ask(exact=False)
        if len(found) >= self._k:
            return found
        if not catalog.has_index(order):
            # None was there when the search began; one may have been made since.
            fresh = read_catalog(connection, self._layout, catalog)
            if fresh is None or not fresh.has_index(order):
                self._few = True
                return found
        # Either there are no more, or the approximate index has not found them: it ends after hnsw.max_scan_tuples
        # rows, leaves out null vectors, and before pgvector 0.8 it read only ef_search rows.
        found = ask(exact=True)
        # How many rows pass the filter does not depend on the question.
        self._few = len(found) < self._k
        return found
