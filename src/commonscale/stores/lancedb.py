"""LanceDB, asked through its own tables: many questions in one call, by cosine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from commonscale.core.errors import InvalidInputError, SourceError, UnknownScoreKindError
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
    along with a hit's row.

    Rows without a vector are not found, which is LanceDB's own doing. Nor are, by cosine, rows whose vector is all
    zeros: that is looked for, and is an error, where fewer hits come back than were asked for. Where as many come back,
    such a row is passed over without a word.
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
        name: str | None = None,
    ) -> None:
        """Set up the table.

        Args:
            opened: gives the ``lancedb`` table as it is now, or None while there is none.
            vector: name of the column of vectors.
            id_column: name of the column of ids.
            where: an SQL condition on the rows that may be found.
            nprobes: least partitions of an index that are searched; None for LanceDB's default.
            refine_factor: candidates per hit that are read in full where there is an index; None for 10.
            name: the table's name, for messages while there is none.
        """
        self._opened = opened
        self._vector = vector
        self._id_column = id_column
        self._where = where
        self._nprobes = nprobes
        self._refine = refine_factor or _REFINE
        self._name = name

    @property
    def score_kind(self) -> str | None:
        """The kind of the distance that is asked for: the cosine's, or that of the index."""
        table = self._opened()
        return _KINDS["cosine"] if table is None else _KINDS[self._metric(table) or "cosine"]

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        table = self._opened()
        return None if table is None else self._length(table.schema)

    @property
    def absent(self) -> str | None:
        """Name the table if there is none."""
        return f"the LanceDB table {self._name!r}" if self._opened() is None else None

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
        fewest = min(found, key=lambda one: len(one.ids), default=None)
        if fewest is not None and len(fewest.ids) < k:
            self._refuse_null(table, set(fewest.ids))
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

    def pages(self, size: int, with_payloads: bool) -> Iterator[Found]:
        """Read all rows that have a vector and pass the filter, batch by batch."""
        table = self._opened()
        if table is None:
            return
        self._length(table.schema)
        yield from self._batches(table, table.search(), self._where, size, with_payloads)

    def by_id(self, ids: Sequence[str]) -> Found:
        """Read the rows with these ids, as far as they are there."""
        table = self._opened()
        if table is None:
            return Found((), (), (), ())
        self._length(table.schema)
        where = within(column(self._id_column), ids)
        parts = list(self._batches(table, table.search(), where, len(ids) or 1, with_payloads=False))
        vectors = [vector for part in parts if part.vectors is not None for vector in part.vectors]
        return Found([one for part in parts for one in part.ids], (), (), vectors)

    def _batches(self, table: Any, query: Any, where: str | None, size: int, with_payloads: bool) -> Iterator[Found]:
        condition = f"{column(self._vector)} IS NOT NULL" + (f" AND ({where})" if where else "")
        query = query.where(condition)
        if not with_payloads:
            query = query.select([self._id_column, self._vector])
        # Without a limit LanceDB gives ten rows to some queries; there are never more than this.
        for batch in query.limit(max(1, table.count_rows())).to_batches(batch_size=size):
            ids = [str(one) for one in batch[self._id_column].to_pylist()]
            payloads = [Row(batch, place) for place in range(len(ids))] if with_payloads else []
            yield Found(ids, (), payloads, self._matrix(batch))

    def _refuse_null(self, table: Any, found: set[str]) -> None:
        """Look for a null vector among the rows that should have been found, and were not."""
        passing = table.count_rows(self._where)
        if passing <= len(found):
            return
        condition = f"{column(self._vector)} IS NOT NULL" + (f" AND ({self._where})" if self._where else "")
        query = table.search().where(condition).select([self._id_column, self._vector]).limit(passing)
        for part in query.to_batches():
            ids = part[self._id_column].to_pylist()
            norms = np.linalg.norm(self._matrix(part), axis=1)
            for place in np.flatnonzero(~(np.isfinite(norms) & (norms > 0))):
                if str(ids[place]) not in found:
                    raise SourceError(
                        f"the stored vector of document {ids[place]!r} in the LanceDB table {table.name!r} is null or "
                        f"not finite, so it has no cosine; embed that document again, or delete it from the store"
                    )

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
        """Give the stored vectors (n, d) of a table or of a batch of its rows."""
        column = answer[self._vector]
        numbers = (column.combine_chunks() if hasattr(column, "combine_chunks") else column).flatten()
        return np.asarray(numbers, dtype=np.float32).reshape(answer.num_rows, self._length(answer.schema))

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
    plain = re.compile(r"[A-Za-z_]\w*")
    return ".".join(part if plain.fullmatch(part) else "`" + part.replace("`", "``") + "`" for part in path)


def literal(value: Any) -> str:
    """Write a value for an SQL condition: text in quotes, numbers and truth values as they are.

    Raises:
        InvalidInputError: if it is none, or several.
    """
    if value is None or (isinstance(value, Collection) and not isinstance(value, str)):
        raise InvalidInputError(f"LanceDB can compare with one text, number or truth value, got {value!r}")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    escaped = str(value).replace("'", "''")
    return f"'{escaped}'"


def within(name: str, values: Iterable[Any]) -> str:
    """Write that a column, as ``column`` writes it, has one of some values."""
    listed = ", ".join(literal(value) for value in values)
    return f"{name} IN ({listed})" if listed else "false"


def _names(schema: Any) -> Sequence[str]:
    names: list[str] = []
    for field in schema:
        inner = [child.name for child in field.type] if str(field.type).startswith("struct") else []
        names += [f"{field.name}.{name}" for name in inner] or [field.name]
    return names
