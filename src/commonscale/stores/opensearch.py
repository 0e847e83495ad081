"""OpenSearch, asked through its own client: many questions in one request, and the vectors with the hits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.stores.conversations import PerLoop
from commonscale.stores.search_api import SearchTable, VectorField
from commonscale.stores.search_clauses import maximum_inner_product, plus_one

_KINDS: Mapping[str, str | Converter] = MappingProxyType(
    {
        "l2": "inverse_one_plus_squared_l2",
        "cosinesimil": "half_one_plus_cosine",
        "innerproduct": maximum_inner_product,
    }
)

_FILTERING = ("lucene", "faiss")
"""Engines that apply a filter while they search; nmslib would filter its k nearest, and starve a modality."""


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
        """Read the mapping of the first index behind the name that has the field.

        Raises:
            InvalidInputError: if there is no such field of floats, or several and none was named.
            UnknownScoreKindError: if its space has no function to the cosine.
        """
        if not reply:
            return None
        name, mapped, settings = self._chosen(reply)
        method = mapped.get("method") or {}
        space = method.get("space_type") or mapped.get("space_type") or settings.get("knn.space_type") or "l2"
        elements = mapped.get("data_type", "float")
        if elements == "binary" or space not in _KINDS:
            raise UnknownScoreKindError(
                f"the OpenSearch field {name!r} compares {elements} vectors by {space}, of which no cosine can be "
                f"made; use float vectors with one of: {', '.join(_KINDS)} (cosinesimil is best)"
            )
        if elements != "float":
            raise InvalidInputError(
                f"the OpenSearch field {name!r} holds {elements} vectors, which cannot be compared with a question of "
                f"floats; map it with data_type float (a compression_level or an encoder may compress it)"
            )
        if "model_id" in mapped:  # A model trained in the server, of faiss; its space is not in the mapping.
            return VectorField(name, None, mapped.get("dimension"))
        # Which engine is the default depends on the server's version, but a mode is only known to filtering ones.
        engine = method.get("engine") or ("faiss" if "mode" in mapped or "compression_level" in mapped else "")
        indexed = str(settings.get("knn", "false")).lower() == "true"
        searchable = indexed and (not self._restriction or engine in _FILTERING)
        return VectorField(name, _kind(space, engine, searchable), mapped.get("dimension"), searchable, space)

    def _chosen(self, reply: Any) -> tuple[str, Any, dict[str, Any]]:
        wanted = self._reading.vector_field
        for entry in reply.values():
            found = dict(_vector_fields(entry.get("mappings", {}).get("properties", {})))
            names = [wanted] if wanted in found else ([] if wanted is not None else sorted(found))
            if len(names) > 1:
                raise InvalidInputError(
                    f"the OpenSearch index {self._index!r} has several vector fields, {names}, and the store does not "
                    f"say which one it uses; call that one 'vector_field', or keep the others in another index"
                )
            if names:
                return names[0], found[names[0]], _flat(entry.get("settings", {}).get("index", {}))
        raise InvalidInputError(
            f"the OpenSearch index {self._index!r} has no knn_vector field{f' {wanted!r}' if wanted else ''}, so no "
            f"cosines; name the field of the vectors in the store, and create the index through the store"
        )

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


def _kind(space: str, engine: str, searchable: bool) -> str | Converter | None:
    if space != "cosinesimil":
        return _KINDS[space]
    if not searchable:
        return plus_one
    # nmslib scores 1 / (2 - cosine) in some versions and (1 + cosine) / 2 in others.
    return _KINDS[space] if engine in _FILTERING else None


def _vector_fields(properties: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, mapped in properties.items():
        if mapped.get("type") == "knn_vector":
            found.append((prefix + name, mapped))
        found += _vector_fields(mapped.get("properties", {}), f"{prefix}{name}.")
    return found


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten settings: servers return both ``{"knn.x": 1}`` and ``{"knn": {"x": 1}}``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


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
