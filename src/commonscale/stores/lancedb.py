"""LanceDB, asked through its own tables: many questions in one call, by cosine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.types import Vector
from commonscale.stores.table import Found

_KINDS = {"cosine": "cosine_distance", "l2": "squared_l2", "dot": "inner_product_distance"}

_BATCH = 100
"""Questions in one call: the rows of all their hits are held in memory together."""

_REFINE = 10
"""Candidates per hit that are read in full where a compressed index chose them, unless the store says how many."""


class Row(NamedTuple):
    """One hit's row, still in the answer's columns.

    Attributes:
        answer: a ``pyarrow.Table`` with the rows of many hits.
        place: which of them.
    """

    answer: Any
    place: int

    def table(self) -> Any:
        """Give the row as a ``pyarrow.Table`` of its own."""
        return self.answer.slice(self.place, 1)

    def value(self, name: str) -> Any:
        """Give the value of one column; None if there is no such column."""
        return self.answer[name][self.place].as_py() if name in self.answer.schema.names else None


class LanceTable:
    """One vector column of a LanceDB table.

    Both frameworks search by squared L2 unless an index says otherwise. Without an index LanceDB scans the table by
    any metric, so it is asked for cosines: exact, in the right order for vectors of any norm. With an index (IVF_PQ
    and its kin) the index's own metric is used, since LanceDB would pass over the index for another; its numbers are
    compressed, so more candidates are read in full (``refine_factor``), and a filter that leaves few rows makes it
    probe more partitions than ``nprobes``. Cosines are always computed from the stored vectors, which LanceDB reads
    along with a hit's row. Rows whose vector is null are not found, which is LanceDB's own doing.
    """

    trusted = False

    def __init__(
        self,
        opened: Callable[[], Any],
        vector: str,
        id_column: str,
        where: str | None = None,
        *,
        nprobes: int | None = None,
        refine_factor: int | None = None,
    ) -> None:
        """Set up the table.

        Args:
            opened: gives the ``lancedb`` table as it is now, or None while there is none.
            vector: name of the column of vectors.
            id_column: name of the column of ids.
            where: an SQL condition on the rows that may be found.
            nprobes: least partitions of an index that are searched; None for LanceDB's default.
            refine_factor: candidates per hit that are read in full where there is an index; None for 10.
        """
        self._opened = opened
        self._vector = vector
        self._id_column = id_column
        self._where = where
        self._nprobes = nprobes
        self._refine = refine_factor or _REFINE
        self._dimension: int | None = None

    @property
    def score_kind(self) -> str | None:
        """The kind of the distance that is asked for: the cosine's, or that of the index."""
        table = self._opened()
        return _KINDS["cosine"] if table is None else _KINDS[self._metric(table) or "cosine"]

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        if self._dimension is None and (table := self._opened()) is not None:
            self._dimension = self._length(table.schema)
        return self._dimension

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search many questions in one call per hundred."""
        table = self._opened()
        if table is None:
            return [Found((), (), ())] * len(rows)
        schema = table.schema
        self._length(schema)
        if self._id_column not in schema.names:
            raise InvalidInputError(
                f"the LanceDB table {table.name!r} has no column {self._id_column!r} for ids, only {schema.names}; "
                f"name the right one in the store"
            )
        metric = self._metric(table)
        found: list[Found] = []
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            found += self._split(self._ask(table, part, k, metric), len(part), with_vectors)
        return found

    def _ask(self, table: Any, rows: Vector, k: int, metric: str | None) -> Any:
        query = table.search(list(rows), vector_column_name=self._vector, query_type="vector").limit(k)
        query = query.distance_type(metric or "cosine")
        if metric is not None:
            query = query.refine_factor(self._refine)
            if self._nprobes is not None:
                query = query.minimum_nprobes(self._nprobes)
            # 0 is no limit: partitions beyond the least are only searched while hits are missing.
            query = query.maximum_nprobes(0)
        if self._where:
            query = query.where(self._where, prefilter=True)
        try:
            return query.to_arrow()
        except ValueError as error:
            if not self._where:
                raise
            raise InvalidInputError(
                f"LanceDB refuses the filter {self._where!r} on the table {table.name!r}: {error}. Filters may name "
                f"what the table has: {', '.join(_names(table.schema))}; a mixed store needs the metadata key that "
                f"names the modality (modality_key=) there"
            ) from error

    def _split(self, answer: Any, questions: int, with_vectors: bool) -> list[Found]:
        if "query_index" in answer.schema.names:
            of_question = answer["query_index"].to_numpy()
        else:
            of_question = np.zeros(len(answer), dtype=np.int64)
        ids = answer[self._id_column].to_pylist()
        numbers = answer["_distance"].to_numpy()
        vectors = self._matrix(answer) if with_vectors else None
        found = []
        for question in range(questions):
            places = np.flatnonzero(of_question == question)
            found.append(
                Found(
                    [str(ids[place]) for place in places],
                    numbers[places].tolist(),
                    [Row(answer, int(place)) for place in places],
                    None if vectors is None else vectors[places],
                )
            )
        return found

    def _matrix(self, answer: Any) -> Any:
        column = answer[self._vector].combine_chunks()
        return np.asarray(column.flatten(), dtype=np.float32).reshape(len(answer), -1)

    def _metric(self, table: Any) -> str | None:
        for index in table.list_indices():
            if list(index.columns) == [self._vector]:
                metric = str(table.index_stats(index.name).distance_type).lower()
                if metric not in _KINDS:
                    raise UnknownScoreKindError(
                        f"the index of the LanceDB table {table.name!r} compares by {metric} distance, of which no "
                        f"cosine can be made; create it with one of: {', '.join(_KINDS)} (cosine is best)"
                    )
                return metric
        return None

    def _length(self, schema: Any) -> int:
        if self._vector not in schema.names:
            raise InvalidInputError(
                f"the LanceDB table has no column of vectors named {self._vector!r}, only {schema.names}; name the "
                f"right one in the store"
            )
        kind = schema.field(self._vector).type
        value = getattr(kind, "value_type", None)
        if not hasattr(kind, "list_size") or not str(value).endswith(("float", "double")):
            raise UnknownScoreKindError(
                f"the LanceDB column {self._vector!r} holds {kind}, of which no cosine can be made; it must hold "
                f"vectors of one fixed length, of floating-point numbers"
            )
        return int(kind.list_size)


def column(*path: str) -> str:
    """Write the name of a column, or of a field in a struct, for an SQL condition."""
    return ".".join(part if re.fullmatch(r"[A-Za-z_]\w*", part) else f"`{part}`" for part in path)


def literal(value: Any) -> str:
    """Write a value for an SQL condition: text in quotes, numbers and truth values as they are."""
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    escaped = str(value).replace("'", "''")
    return f"'{escaped}'"


def _names(schema: Any) -> Sequence[str]:
    names: list[str] = []
    for field in schema:
        inner = [child.name for child in field.type] if str(field.type).startswith("struct") else []
        names += [f"{field.name}.{name}" for name in inner] or [field.name]
    return names
