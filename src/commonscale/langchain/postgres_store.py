"""LangChain's PGVectorStore and the older PGVector (package langchain-postgres) as sources."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.types import Source
from commonscale.langchain.scored_store import ScoredSource
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View

if TYPE_CHECKING:
    from commonscale.stores.postgres_engines import Engines
    from commonscale.stores.postgres_sql import Layout, Measure


def open_pgvectorstore(store: Any, view: View) -> Source:
    """Open one modality of a PGVectorStore (or AsyncPGVectorStore); ``filter`` is its own kind of dict.

    The vectors are searched alone, also where the store is made for hybrid search; its index options are kept.

    Raises:
        UnknownScoreKindError: if it compares vectors in a way of which no cosine can be made.
        InvalidInputError: if a filter is none of the store's.
    """
    # Whoever holds such a store has SQLAlchemy.
    import sqlalchemy as sa

    from commonscale.stores.postgres_engines import Engines
    from commonscale.stores.postgres_sql import COSINE_DISTANCE, INNER_PRODUCT, L2, Layout

    loop = getattr(getattr(store, "_engine", None), "_loop", None)
    inner = getattr(store, "_PGVectorStore__vs", store)
    payload = [inner.content_column, *inner.metadata_columns]
    names = dict.fromkeys([inner.id_column, inner.embedding_column, *payload])
    columns: list[Any] = [sa.column(name) for name in names]
    if inner.metadata_json_column and inner.metadata_json_column not in payload:
        payload.append(inner.metadata_json_column)
        columns.append(sa.column(inner.metadata_json_column, sa.JSON))

    def clause(condition: Any) -> Any:
        sql, values = inner._create_filter_clause(condition)
        return sa.text(f"({sql})").bindparams(
            *(sa.bindparam(name, value, sa.types.NullType()) for name, value in values.items())
        )

    layout = Layout(
        sa.table(inner.table_name, *columns, schema=inner.schema_name),
        inner.id_column,
        inner.embedding_column,
        payload,
        _conditions(view, clause, "PGVectorStore"),
    )
    measures = {"<=>": COSINE_DISTANCE, "<->": L2, "<#>": INNER_PRODUCT}
    measure = _measure(inner.distance_strategy, "operator", measures)

    def document(row_id: str, row: Any) -> Document:
        extra = row[inner.metadata_json_column] if inner.metadata_json_column else None
        metadata = {**(extra or {}), **{name: row[name] for name in inner.metadata_columns}}
        return Document(id=row_id, page_content=row[inner.content_column], metadata=metadata)

    return _source(
        store,
        view,
        layout,
        measure,
        lambda: Engines(None, inner.engine, loop),
        document,
        _options(inner.index_query_options),
    )


def open_pgvector(store: Any, view: View) -> Source:
    """Open one modality of a PGVector; ``filter`` is its own kind of dict.

    Raises:
        UnknownScoreKindError: if it compares vectors in a way of which no cosine can be made.
        InvalidInputError: if a filter is none of the store's.
    """
    if not hasattr(store, "session_maker"):
        # The class of the same name in langchain-community, with other tables.
        return ScoredSource(store, view)
    import sqlalchemy as sa
    from langchain_postgres import vectorstores

    from commonscale.stores.postgres_engines import Engines
    from commonscale.stores.postgres_sql import COSINE_DISTANCE, L2, NEGATIVE_INNER_PRODUCT, Layout

    # A store with an asynchronous engine has these two only after its first use.
    rows, collections = vectorstores._get_embedding_collection_store(store._embedding_length)
    translator = copy.copy(store)
    translator.EmbeddingStore = rows
    own = sa.select(collections.uuid).where(collections.name == store.collection_name).scalar_subquery()
    layout = Layout(
        rows.__table__,
        "id",
        "embedding",
        ("document", "cmetadata"),
        [rows.collection_id == own, *_conditions(view, translator._create_filter_clause, "PGVector")],
    )
    measures = {"cosine": COSINE_DISTANCE, "l2": L2, "inner": NEGATIVE_INNER_PRODUCT}
    measure = _measure(store._distance_strategy, "value", measures)

    def document(row_id: str, row: Any) -> Document:
        return Document(id=row_id, page_content=row["document"] or "", metadata=dict(row["cmetadata"] or {}))

    return _source(store, view, layout, measure, lambda: Engines(store._engine, store._async_engine), document)


def _source(
    store: Any,
    view: View,
    layout: Layout,
    measure: Measure,
    connect: Callable[[], Engines],
    document: Callable[[str, Any], Document],
    settings: Sequence[tuple[str, str]] = (),
) -> Source:
    from commonscale.stores.postgres import PostgresTable

    table = PostgresTable(layout, measure, connect, own_measure=view.score_kind is not None, settings=settings)
    return table_source(store, table, view, document, concurrent=True, remote=True)


def _measure(strategy: Any, attribute: str, measures: Mapping[str, Measure]) -> Measure:
    name = getattr(strategy, attribute, strategy)
    if name not in measures:
        raise UnknownScoreKindError(
            f"the store compares vectors by {strategy!r}, of which no cosine can be made; open it with a "
            f"distance_strategy of {', '.join(map(repr, measures))} (cosine is best)"
        )
    return measures[name]


def _conditions(view: View, clause: Callable[[Any], Any], store: str) -> list[Any]:
    own = view.modality_filter
    if own is None and view.modality_key is not None:
        own = {view.modality_key: view.modality}
    conditions = []
    for condition in (own, view.filter):
        if condition is None or condition == {}:
            continue
        try:
            conditions.append(clause(condition))
        except Exception as error:  # Whatever the store's translation throws at a filter that it does not know.
            raise InvalidInputError(
                f"{condition!r} is no filter of a {store}: {error}; give a dict such as {{'year': {{'$gte': 2020}}}}"
            ) from error
    return conditions


def _options(options: Any) -> list[tuple[str, str]]:
    """Read a store's index options, which come as settings: ``hnsw.ef_search = 40``."""
    if options is None:
        return []
    pairs = [parameter.partition("=") for parameter in options.to_parameter()]
    return [(name.strip(), value.strip()) for name, _, value in pairs]
