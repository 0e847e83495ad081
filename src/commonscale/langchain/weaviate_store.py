"""LangChain's WeaviateVectorStore as a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Source
from commonscale.langchain.table_store import table_source
from commonscale.langchain.view import View
from commonscale.stores.weaviate import Reading, Restriction, WeaviateTable


def open_weaviate(store: Any, view: View) -> Source:
    """Open one modality of a WeaviateVectorStore.

    ``filter`` is a ``weaviate.classes.query.Filter``, or, where the collection has several tenants, a dict of the
    keywords that the store's own search takes: ``{"tenant": "a", "filters": Filter...}``.

    Raises:
        InvalidInputError: if a filter is none of Weaviate's.
    """
    given, tenant = _parts(view.filter)
    label = view.modality_key if view.modality_filter is None else None
    restriction = _restriction([view.modality_filter, given], label, view.modality)
    reading = Reading(store._index_name, restriction, label, tenant=tenant)
    table = WeaviateTable(store._client, reading, store._client_async)

    def document(row_id: str, found: Any) -> Document:
        properties = dict(found.properties)
        return Document(id=row_id, page_content=properties.pop(store._text_key, None) or "", metadata=properties)

    return table_source(store, table, view, document, concurrent=True, remote=True)


def _parts(given: Any) -> tuple[Any, str | None]:
    """Give the filter proper, and the tenant."""
    if not isinstance(given, Mapping):
        return given, None
    unknown = sorted(set(given) - {"tenant", "filters"})
    if unknown:
        raise InvalidInputError(
            f"a dict as the filter of a WeaviateVectorStore may hold 'tenant' and 'filters', got {unknown} too; other "
            f"conditions go into a Filter under 'filters'"
        )
    return given.get("filters"), given.get("tenant")


def _restriction(parts: Sequence[Any], label: str | None, modality: str) -> Restriction:
    # Whoever has the store has these.
    from weaviate.classes.query import Filter
    from weaviate.collections.classes.filters import _Filters

    joined = [part for part in parts if part is not None]
    for part in joined:
        if not isinstance(part, _Filters):
            raise InvalidInputError(
                f"a filter of a WeaviateVectorStore must be a weaviate.classes.query.Filter, got {part!r}"
            )
    if label is not None:
        joined.append(Filter.by_property(label).equal(modality))
    whole = Filter.all_of(joined) if len(joined) > 1 else next(iter(joined), None)
    return lambda _: whole
