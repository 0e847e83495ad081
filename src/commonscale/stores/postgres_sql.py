"""The SQL that PostgreSQL with pgvector is asked in. Needs SQLAlchemy, which every adapter of such a store brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import UserDefinedType

QUESTION = "commonscale_question"
"""The bound parameter that holds a question's vector as text."""


class VectorType(UserDefinedType[Any]):
    """A type of pgvector's, to cast to."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """Give the type's name."""
        return self.name


@dataclass(frozen=True)
class Measure:
    """How a store compares vectors.

    Attributes:
        operator: pgvector's operator, ascending from the closest.
        family: how the operator classes of its indexes end: ``vector_cosine_ops``, ``halfvec_cosine_ops``.
        kind: the score kind of the number that the store's class returns.
        number: makes that number of what the operator returns.
    """

    operator: str
    family: str
    kind: str
    number: Callable[[float], float] = lambda distance: distance


COSINE_DISTANCE = Measure("<=>", "_cosine_ops", "cosine_distance")
COSINE = Measure("<=>", "_cosine_ops", "cosine", lambda distance: 1.0 - distance)
L2 = Measure("<->", "_l2_ops", "l2")
NEGATIVE_INNER_PRODUCT = Measure("<#>", "_ip_ops", "negative_inner_product")
INNER_PRODUCT = Measure("<#>", "_ip_ops", "inner_product", lambda distance: -distance)


@dataclass(frozen=True)
class Layout:
    """Where the vectors of a store are.

    Attributes:
        table: the table.
        id: column of the documents' ids.
        embedding: column of the vectors.
        payload: columns of what documents are made from.
        conditions: what rows must fulfil, all of it.
        customize: the user's own change to the statement, made before conditions and limit are added.
    """

    table: Any
    id: str
    embedding: str
    payload: Sequence[str]
    conditions: Sequence[Any] = ()
    customize: Callable[[Any], Any] | None = None

    @property
    def key(self) -> str:
        """The column that tells rows apart and has an index: the primary key, or else that of the ids."""
        primary = [column.key for column in getattr(self.table, "primary_key", ())]
        return primary[0] if len(primary) == 1 else self.id

    @property
    def name(self) -> str:
        """The table's name as SQL reads it."""
        parts = [part for part in (getattr(self.table, "schema", None), self.table.name) if part]
        return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


@dataclass(frozen=True)
class Catalog:
    """What the server says of a column of vectors.

    Attributes:
        relation: the server's number of the table, another one when it is dropped and made anew.
        type: the column's type: vector, halfvec, sparsevec, bit.
        dimension: length of the vectors; None if the column takes any and there are none yet.
        indexes: operator classes of the indexes on it that answer approximately.
        iterative: whether such indexes can go on searching where a filter leaves too few.
    """

    relation: int
    type: str
    dimension: int | None
    indexes: tuple[str, ...]
    iterative: bool

    def has_index(self, measure: Measure) -> bool:
        """Tell whether an approximate index may answer searches by this measure."""
        return any(name.endswith(measure.family) for name in self.indexes)


_CATALOG = sa.text(
    """
    SELECT a.attrelid::bigint, t.typname, a.atttypmod,
        (SELECT string_agg(o.opcname, ' ') FROM pg_index i JOIN pg_opclass o ON o.oid = i.indclass[0]
         WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid),
        (SELECT extversion FROM pg_extension WHERE extname = 'vector')
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass(:name) AND a.attname = :embedding AND NOT a.attisdropped
    """
).bindparams(sa.bindparam("name", type_=sa.String), sa.bindparam("embedding", type_=sa.String))

_APPROXIMATE = ("_cosine_ops", "_l2_ops", "_ip_ops", "_l1_ops")


def read_catalog(connection: Any, layout: Layout, known: Catalog | None = None) -> Catalog | None:
    """Ask what the column of vectors is like.

    Args:
        connection: where to ask.
        layout: the table.
        known: what was known of it; of a column that takes vectors of any length, the length is kept.

    Returns:
        The column's properties; None if there is no such table or column.
    """
    row = connection.execute(_CATALOG, {"name": layout.name, "embedding": layout.embedding}).first()
    if row is None:
        return None
    relation, kind, length, indexes, version = row
    dimension = int(length) if length > 0 else None
    if dimension is None and known is not None and (known.relation, known.type) == (relation, kind):
        dimension = known.dimension
    if dimension is None and kind in ("vector", "halfvec"):
        column = layout.table.c[layout.embedding]
        sized = sa.select(sa.func.vector_dims(column)).where(column.is_not(None), *layout.conditions).limit(1)
        dimension = connection.execute(sized).scalar()
    classes = tuple(name for name in (indexes or "").split() if name.endswith(_APPROXIMATE))
    numbers = [int(part) for part in str(version or "0").split(".")[:2] if part.isdigit()]
    return Catalog(relation, kind, dimension, classes, numbers >= [0, 8])


def search_statement(
    layout: Layout, catalog: Catalog, measure: Measure, k: int, *, order: Measure, with_vectors: bool, exact: bool
) -> sa.Select[Any]:
    """Write the search for the ``k`` rows closest to ``QUESTION``.

    Args:
        layout: the table.
        catalog: its column of vectors.
        measure: what the numbers are made by.
        k: how many. It is written into the statement: of a parameter, a prepared plan knows nothing, and prefers to
            sort the whole table.
        order: what to order by, mostly the same.
        with_vectors: whether vectors are needed too.
        exact: compare every row, in a form that no approximate index can answer.

    Returns:
        Rows of id, distance, vector as text (if needed) and payload.
    """
    column = layout.table.c[layout.embedding]
    question = sa.bindparam(QUESTION, type_=sa.String)
    half = catalog.type == "halfvec"
    # In full precision: comparing as halfvec would round the question too.
    vectors = sa.cast(column, VectorType("vector")) if half else column

    def distance(by: Measure, of: Any = vectors, name: str = "vector") -> Any:
        return of.op(by.operator, return_type=sa.Float())(sa.cast(question, VectorType(name)))

    shown = distance(measure).label("commonscale_distance")
    ordered: Any = shown if order.operator == measure.operator else distance(order)
    if half and not exact:
        ordered = distance(order, column, "halfvec")
    elif exact and not half:
        ordered = distance(order) + sa.literal_column("0")
    columns = [layout.table.c[layout.id], shown]
    if with_vectors:
        columns.append(sa.cast(column, sa.Text).label("commonscale_vector"))
    statement = sa.select(*columns, *(layout.table.c[name] for name in layout.payload)).order_by(ordered)
    if layout.customize is not None:
        statement = layout.customize(statement)
    return statement.where(*layout.conditions).limit(sa.literal_column(str(int(k))))


def page_statement(layout: Layout, size: int, *, after: Any, with_payload: bool) -> sa.Select[Any]:
    """Write the reading of the next rows that have a vector, in the order of their key.

    Args:
        layout: the table.
        size: how many rows.
        after: the key of the last row before them; None at the beginning.
        with_payload: whether payloads are needed too.

    Returns:
        Rows of id, vector as text, key and payload.
    """
    columns, key = layout.table.c, layout.table.c[layout.key]
    vector = sa.cast(columns[layout.embedding], sa.Text).label("commonscale_vector")
    payload = [columns[name] for name in layout.payload] if with_payload else []
    chosen = sa.select(columns[layout.id], vector, key.label("commonscale_key"), *payload).order_by(key)
    if layout.customize is not None:
        chosen = layout.customize(chosen)
    chosen = chosen.where(*layout.conditions, columns[layout.embedding].is_not(None))
    if after is not None:
        chosen = chosen.where(key > after)
    return chosen.limit(size)


def rows_statement(layout: Layout, ids: Sequence[str], *, as_text: bool = False) -> sa.Select[Any]:
    """Write the reading of the vectors of documents.

    Args:
        layout: the table.
        ids: the documents.
        as_text: whether ids are compared as texts, of whatever type their column is, which cannot use an index.

    Returns:
        Rows of id and vector as text.
    """
    columns = layout.table.c
    held = sa.cast(columns[layout.id], sa.Text) if as_text else columns[layout.id]
    # Without a type, so that the server takes the texts for whatever the ids are: text, or UUIDs.
    wanted = sa.bindparam("commonscale_ids", list(ids), type_=sa.types.NullType(), expanding=True)
    vector = sa.cast(columns[layout.embedding], sa.Text)
    chosen = sa.select(columns[layout.id], vector)
    return chosen.where(held.in_(wanted), columns[layout.embedding].is_not(None), *layout.conditions)


def search_settings(catalog: Catalog, measure: Measure, own: Sequence[tuple[str, str]]) -> sa.Select[Any] | None:
    """Write the settings of one transaction in which approximate indexes find enough; None if there are none to make.

    Args:
        catalog: the column of vectors.
        measure: what is searched by.
        own: the store's own settings, such as ``("hnsw.ef_search", "100")``; they are kept.
    """
    settings = dict(own)
    if catalog.has_index(measure) and catalog.iterative:
        # An index that is read only once gives up after ef_search rows, however few of them pass the filter. In
        # relaxed order it finds more; hits are sorted by cosine afterwards anyway.
        settings = {"hnsw.iterative_scan": "relaxed_order", "ivfflat.iterative_scan": "relaxed_order"} | settings
    if not settings:
        return None
    return sa.select(*(sa.func.set_config(name, str(value), sa.true()) for name, value in settings.items()))
