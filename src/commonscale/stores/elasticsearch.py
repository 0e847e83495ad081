"""Elasticsearch, asked through its own client: many questions in one request, and the vectors with the hits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.stores.conversations import PerLoop
from commonscale.stores.search_api import MOST_HITS, SearchTable, VectorField
from commonscale.stores.search_clauses import maximum_inner_product, plus_one
from commonscale.stores.search_pages import KEPT

_KINDS: Mapping[str, str | Converter] = MappingProxyType(
    {
        "cosine": "half_one_plus_cosine",
        "dot_product": "half_one_plus_inner_product",
        "l2_norm": "inverse_one_plus_squared_l2",
        "max_inner_product": maximum_inner_product,
    }
)
_FLOATS = ("float", "bfloat16")


class ElasticsearchTable(SearchTable):
    """One ``dense_vector`` field of an Elasticsearch index, 8.0 or later.

    Its kNN search looks at ten candidates for each hit in every shard, at least 100 and at most 10,000
    (``num_candidates``). A field that is not indexed (``index: false``) is scored one by one, exactly. Vectors are
    asked for with ``fields``, which every version understands: from 9.2 on, ``_source`` leaves them out.
    """

    def __init__(self, client: Any, index: str, vector_field: str, restriction: Sequence[Any] = ()) -> None:
        """Set up the table.

        Args:
            client: an ``elasticsearch.Elasticsearch`` or ``AsyncElasticsearch``. Of an asynchronous one, only copies
                are used: a synchronous one, and one in each event loop.
            index: the index; it may be created later.
            vector_field: the field that holds the vectors.
            restriction: clauses of Elasticsearch's query language that all hold.
        """
        from elasticsearch import AsyncElasticsearch, Elasticsearch

        own, aclients = client, None
        if isinstance(client, AsyncElasticsearch):
            own, aclients = (
                copied_client(client, Elasticsearch),
                PerLoop(lambda: copied_client(client, AsyncElasticsearch)),
            )
        super().__init__(own, aclients, index, restriction)
        self._vector_field = vector_field

    def mapping(self) -> Callable[[Any], Any]:
        """Ask for the vector field's mapping, with what is set by default."""
        return lambda client: client.indices.get_field_mapping(
            fields=self._vector_field, index=self._index, include_defaults=True
        )

    def field_of(self, reply: Any) -> VectorField | None:
        """Read the mapping of the first index behind the name that has the field.

        Raises:
            InvalidInputError: if there is no such field of floats.
            UnknownScoreKindError: if it holds bits, whose metric is not the cosine.
        """
        if not reply:
            return None
        found = [entry["mappings"][self._vector_field] for entry in reply.values() if entry["mappings"]]
        mapped = next(iter(found[0]["mapping"].values())) if found else {}
        if mapped.get("type") != "dense_vector":
            raise InvalidInputError(
                f"the Elasticsearch index {self._index!r} has no dense_vector field {self._vector_field!r} (its type: "
                f"{mapped.get('type')!r}), so no cosines; name the field of the vectors in the store, and use a dense "
                f"vector strategy"
            )
        elements, similarity = mapped.get("element_type", "float"), mapped.get("similarity") or "cosine"
        if elements == "bit" or similarity not in _KINDS:
            raise UnknownScoreKindError(
                f"the Elasticsearch field {self._vector_field!r} compares {elements} vectors by {similarity}, of which "
                f"no cosine can be made; use float vectors with one of: {', '.join(_KINDS)} (cosine is best)"
            )
        if elements not in _FLOATS:
            raise InvalidInputError(
                f"the Elasticsearch field {self._vector_field!r} holds {elements} vectors, which cannot be compared "
                f"with a question of floats; map it with element_type float (index_options may compress it)"
            )
        searchable = bool(mapped.get("index", True))
        return VectorField(
            self._vector_field, _KINDS[similarity] if searchable else plus_one, mapped.get("dims"), searchable
        )

    def unseen(self) -> VectorField:
        """Assume an indexed field."""
        return VectorField(self._vector_field)

    def body(self, field: VectorField, row: list[float], k: int, with_vectors: bool) -> dict[str, Any]:
        """Ask for the k nearest."""
        # What "fields" returns need not come in _source a second time, as it does before 9.2.
        body: dict[str, Any] = {"size": k, "_source": {"excludes": [field.name]}}
        if with_vectors:
            body["fields"] = [field.name]
        if field.searchable:
            knn = {"field": field.name, "query_vector": row, "k": k, "num_candidates": _candidates(k)}
            return body | {"knn": knn | ({"filter": self._restriction} if self._restriction else {})}
        # A script fails on documents without the field.
        queried = {"bool": {"filter": [{"exists": {"field": field.name}}, *self._restriction]}}
        source = f"cosineSimilarity(params.query_vector, '{field.name}') + 1.0"
        script = {"source": source, "params": {"query_vector": row}}
        return body | {"query": {"script_score": {"query": queried, "script": script}}}

    def vector_of(self, field: VectorField, hit: Mapping[str, Any]) -> Any:
        """Read it from ``fields``, where values are always in a list: here the numbers, or one list of them."""
        found = hit.get("fields", {}).get(field.name)
        return found[0] if found and isinstance(found[0], list) else found

    def shown(self, field: VectorField, with_payloads: bool) -> Mapping[str, Any]:
        """Ask for the vector by ``fields``, as every search does."""
        return {"fields": [field.name], "_source": {"excludes": [field.name]} if with_payloads else False}

    def beginning(self, body: dict[str, Any]) -> Callable[[Any], Any]:
        """Begin to scroll."""
        return lambda client: client.search(index=self._index, scroll=KEPT, body=body)

    def following(self, place: str) -> Callable[[Any], Any]:
        """Read the next page."""
        return lambda client: client.scroll(scroll_id=place, scroll=KEPT)

    def forgetting(self, place: str) -> Callable[[Any], Any]:
        """End it."""
        return lambda client: client.clear_scroll(scroll_id=place)

    def many(self, bodies: list[dict[str, Any]]) -> Callable[[Any], Any]:
        """Search by msearch, whose entries have a header of their own."""
        searches = [part for body in bodies for part in ({}, body)]
        return lambda client: client.msearch(index=self._index, searches=searches)

    def failure(self, reply: Any, entry: Mapping[str, Any]) -> Exception:
        """Make the client's own error of one question."""
        from elasticsearch import ApiError
        from elasticsearch.exceptions import HTTP_EXCEPTIONS

        error, status = entry["error"], int(entry.get("status", 500))
        message = error.get("type", "error") if isinstance(error, Mapping) else str(error)
        made = HTTP_EXCEPTIONS.get(status, ApiError)
        return made(message=message, meta=replace(reply.meta, status=status), body=dict(entry))

    def missing(self) -> type[Exception]:
        """Give the client's NotFoundError."""
        from elasticsearch import NotFoundError

        return NotFoundError

    def forbidden(self) -> type[Exception]:
        """Give the client's AuthorizationException."""
        from elasticsearch import AuthorizationException

        return AuthorizationException


def _candidates(k: int) -> int:
    return min(MOST_HITS, max(100, 10 * k))


def copied_client(client: Any, cls: Any) -> Any:
    """Make another client, perhaps of the other kind, with the nodes, credentials and settings of one."""
    transport = client.transport
    made = cls(
        hosts=[node.config for node in transport.node_pool.all()],
        max_retries=transport.max_retries,
        retry_on_status=transport.retry_on_status,
        retry_on_timeout=transport.retry_on_timeout,
    )
    return made.options(
        headers=dict(client._headers),
        request_timeout=client._request_timeout,
        max_retries=client._max_retries,
        retry_on_status=client._retry_on_status,
        retry_on_timeout=client._retry_on_timeout,
    )
