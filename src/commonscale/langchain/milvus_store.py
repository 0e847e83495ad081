"""LangChain's Milvus store as a source."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Source
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View
from commonscale.stores.milvus import MilvusTable, text_literal
from commonscale.stores.milvus_clients import is_local


def open_milvus(store: Any, view: View) -> Source:
    """Open one modality of a Milvus store; ``filter`` is a boolean expression (``'year > 2000'``).

    Client, database, partitions, search parameters and timeout are the store's. Its collection may be created later.

    Raises:
        InvalidInputError: if the store has no dense field, or several, or a filter is no expression.
    """
    field = _dense_field(store)
    search_params = store.search_params
    if isinstance(search_params, list):
        # One for each field, in the order of the fields.
        search_params = dict(zip(store.vector_fields, search_params, strict=False)).get(field)
    table = MilvusTable(
        store.client,
        store.collection_name,
        field,
        _condition(store, view),
        # Not ``store.aclient``, which makes one where there is none.
        aclient=store._async_milvus_client,
        search_params=search_params,
        partitions=store.partition_names,
        timeout=store.timeout,
    )

    def document(row_id: str, row: dict[str, Any]) -> Document:
        made: Document = store._parse_document(dict(row))
        made.id = row_id
        return made

    local = is_local(store.client)
    return table_source(store, table, view, document, concurrent=True, remote=not local)


def _dense_field(store: Any) -> str:
    functions = store.embedding_func if isinstance(store.embedding_func, list) else [store.embedding_func]
    fields = [
        name
        for name, function in zip(store._vector_fields_from_embedding, functions, strict=False)
        if not store._is_sparse_embedding(function)
    ]
    if len(fields) == 1:
        return str(fields[0])
    given = f"several fields of dense vectors ({', '.join(fields)})" if fields else "no field of dense vectors"
    raise InvalidInputError(
        f"this Milvus store has {given}, where one is needed; open the collection with one embedding function, "
        f"Milvus(embeddings, vector_field='<that field>')"
    )


def _condition(store: Any, view: View) -> str:
    own = view.modality_filter
    if own is None and view.modality_key is not None:
        key = view.modality_key
        if store._metadata_field is not None:
            key = f"{store._metadata_field}[{text_literal(key)}]"
        own = f"{key} == {text_literal(view.modality)}"
    conditions = [condition for condition in (own, view.filter) if condition is not None]
    for condition in conditions:
        if not isinstance(condition, str):
            raise InvalidInputError(
                f"a filter of a Milvus store must be a boolean expression such as 'year > 2000', got {condition!r}"
            )
    return " and ".join(f"({condition})" for condition in conditions if condition)
