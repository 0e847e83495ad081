"""OpenSearch, asked through its own client: many questions in one request, and the vectors with the hits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from commonscale.core.errors import InvalidInputError
from commonscale.stores.conversations import PerLoop
from commonscale.stores.opensearch_mapping import vector_field
from commonscale.stores.search_api import SearchTable, VectorField
from commonscale.stores.search_pages import KEPT


class Reading(NamedTuple):
    """How an index is read.

    Attributes:
        name: the index; it may be created later.
        vector_field: the field that holds the vectors; None for the only one there is.
        restriction: clauses of the query language that all hold.
        hidden: fields to leave out of the hits.
        routing: the routing value that searches are sent to.
    """

    name: str
    vector_field: str | None
    restriction: Sequence[Any] = ()
    hidden: Sequence[str] = ()
    routing: str | None = None


class OpenSearchTable(SearchTable):
    """One ``knn_vector`` field of an OpenSearch index, 2.9 or later.

    Filters go into the kNN query, where the engine (lucene, faiss) applies them while it searches. With nmslib, and
    for fields that are not indexed for kNN, the documents that pass are scored one by one, exactly.
    """

    def __init__(self, client: Any, reading: Reading, aclient: Any = None) -> None:
        """Set up the table.

        Args:
            client: an ``opensearchpy.OpenSearch``.
            reading: how to read the index.
            aclient: an ``opensearchpy.AsyncOpenSearch`` of the same server, of which copies are used, one in each
                event loop.
        """
        aclients = None if aclient is None else PerLoop(lambda: _copy(aclient))
        super().__init__(client, aclients, reading.name, reading.restriction)
        self._reading = reading
        self._parameters = {} if reading.routing is None else {"routing": reading.routing}

    def mapping(self) -> Callable[[Any], Any]:
        """Ask for the index with its mapping and settings."""
        return lambda client: client.indices.get(index=self._index)

    def field_of(self, reply: Any) -> VectorField | None:
        """Read the mapping; see ``vector_field``."""
        if not reply:
            return None
        return vector_field(reply, self._index, self._reading.vector_field, filtered=bool(self._restriction))

    def unseen(self) -> VectorField:
        """Assume an index for kNN that filters while it searches.

        Raises:
            InvalidInputError: if the field was not named.
        """
        if self._reading.vector_field is None:
            raise InvalidInputError(
                f"the mapping of the OpenSearch index {self._index!r} may not be read with these credentials, so it is "
                f"not known which field holds the vectors; allow indices:admin/get"
            )
        return VectorField(self._reading.vector_field)

    def body(self, field: VectorField, row: list[float], k: int, with_vectors: bool) -> dict[str, Any]:
        """Ask for the k nearest."""
        hidden = [name for name in self._reading.hidden if name != field.name]
        body: dict[str, Any] = {"size": k, "_source": {"excludes": hidden + ([] if with_vectors else [field.name])}}
        if field.searchable:
            passing = {"filter": {"bool": {"filter": self._restriction}}} if self._restriction else {}
            return body | {"query": {"knn": {field.name: {"vector": row, "k": k} | passing}}}
        # The script fails on documents without the field.
        queried = {"bool": {"filter": [{"exists": {"field": field.name}}, *self._restriction]}}
        parameters = {"field": field.name, "query_value": row, "space_type": field.detail}
        script = {"source": "knn_score", "lang": "knn", "params": parameters}
        return body | {"query": {"script_score": {"query": queried, "script": script}}}

    def vector_of(self, field: VectorField, hit: Mapping[str, Any]) -> Any:
        """Read it from ``_source``, by its path."""
        found: Any = hit.get("_source", {})
        if field.name in found:
            return found[field.name]
        for part in field.name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def shown(self, field: VectorField, with_payloads: bool) -> Mapping[str, Any]:
        """Ask for the vector within ``_source``."""
        hidden = [name for name in self._reading.hidden if name != field.name]
        return {"_source": {"excludes": hidden} if with_payloads else {"includes": [field.name]}}

    def beginning(self, body: dict[str, Any]) -> Callable[[Any], Any]:
        """Begin to scroll, where documents are routed to."""
        parameters = {**self._parameters, "scroll": KEPT}
        return lambda client: client.search(index=self._index, body=body, params=parameters)

    def following(self, place: str) -> Callable[[Any], Any]:
        """Read the next page."""
        return lambda client: client.scroll(body={"scroll_id": place, "scroll": KEPT})

    def forgetting(self, place: str) -> Callable[[Any], Any]:
        """End it."""
        return lambda client: client.clear_scroll(body={"scroll_id": [place]})

    def one(self, body: dict[str, Any]) -> Callable[[Any], Any]:
        """Search once, where documents are routed to."""
        return lambda client: client.search(index=self._index, body=body, params=dict(self._parameters))

    def many(self, bodies: list[dict[str, Any]]) -> Callable[[Any], Any]:
        """Search by msearch, whose entries have a header of their own."""
        searches = [part for body in bodies for part in (self._parameters, body)]
        return lambda client: client.msearch(body=searches, index=self._index)

    def failure(self, reply: Any, entry: Mapping[str, Any]) -> Exception:
        """Make the client's own error of one question; the reply as a whole says nothing of it."""
        del reply
        from opensearchpy.exceptions import HTTP_EXCEPTIONS, TransportError

        error, status = entry["error"], int(entry.get("status", 500))
        kind = error.get("type", "error") if isinstance(error, Mapping) else str(error)
        return HTTP_EXCEPTIONS.get(status, TransportError)(status, kind, dict(entry))

    def missing(self) -> type[Exception]:
        """Give the client's NotFoundError."""
        from opensearchpy import NotFoundError

        return NotFoundError

    def forbidden(self) -> type[Exception]:
        """Give the client's AuthorizationException."""
        from opensearchpy import AuthorizationException

        return AuthorizationException


def same_server(client: Any, aclient: Any) -> bool:
    """Tell whether two clients, such as a store's synchronous and asynchronous one, have the same nodes."""
    mine, theirs = getattr(client, "transport", None), getattr(aclient, "transport", None)
    return mine is not None and theirs is not None and mine.hosts == theirs.hosts


def _copy(client: Any) -> Any:
    """Make another client with the nodes, credentials and settings of one."""
    transport = client.transport
    kept = {name: value for name, value in transport.kwargs.items() if name != "loop"}
    return type(client)(
        hosts=[dict(host) for host in transport.hosts],
        connection_class=transport.connection_class,
        max_retries=transport.max_retries,
        retry_on_status=transport.retry_on_status,
        retry_on_timeout=transport.retry_on_timeout,
        pool_maxsize=transport.pool_maxsize,
        **kept,
    )
