"""Weaviate, asked through its own client by vector alone, never by its hybrid search."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from commonscale.core.concurrency import amap_bounded, map_bounded
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError, UnreadableVectorsError
from commonscale.core.threads import off_thread
from commonscale.core.types import Vector
from commonscale.stores.conversations import Conversation, Step, arun, run
from commonscale.stores.table import Found
from commonscale.stores.weaviate_pages import read_by_id, read_pages

_KINDS = MappingProxyType({"cosine": "cosine_distance", "dot": "negative_inner_product", "l2-squared": "squared_l2"})

Restriction: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Makes a ``weaviate.classes.query.Filter``, or None, from the data types of a collection's properties."""


class Reading(NamedTuple):
    """How a collection is read.

    Attributes:
        collection: its name; it may be created later.
        restriction: which objects may be found.
        label: a property without which no object can be found, since it holds the modality.
        keys: properties that the restriction asks for.
        tenant: the tenant, of a collection with several.
    """

    collection: str
    restriction: Restriction
    label: str | None = None
    keys: frozenset[str] = frozenset()
    tenant: str | None = None


class _Settings(NamedTuple):
    kind: str
    vector_name: str | None
    types: Mapping[str, Any]


class WeaviateTable:
    """One vector of a Weaviate collection.

    The frameworks' stores ask by hybrid search, whose scores are normalized for each question. This asks by vector
    alone, and the stored vectors come along: distances may be those of compressed vectors.
    """

    trusted = False
    dimension = None
    """Weaviate does not say how long the vectors of a collection are."""

    def __init__(self, client: Any, reading: Reading, aclient: Any = None) -> None:
        """Set up the table.

        Args:
            client: a connected ``weaviate.WeaviateClient``, or None if there is only an asynchronous one.
            reading: how to read the collection.
            aclient: a ``weaviate.WeaviateAsyncClient`` of the same server. It is used in the event loop that it was
                connected in; in others, the synchronous client is, off the loop.
        """
        self._client = client
        self._reading = reading
        self._aclient = aclient
        self._known: _Settings | None = None
        self._missing = False
        if aclient is not None:
            self.asearch = self._asearch

    @property
    def score_kind(self) -> str | None:
        """The kind of the collection's distance."""
        settings = run(self._settings(), self._synchronous())
        return None if settings is None else settings.kind

    @property
    def absent(self) -> str | None:
        """Name the collection if the last search did not find it."""
        return f"the Weaviate collection {self._reading.collection!r}" if self._missing else None

    def search(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        """Search, a few questions at the same time; Weaviate answers one question a call."""
        client = self._synchronous()
        settings = run(self._settings(), client)
        if settings is None:
            return [Found((), (), ())] * len(rows)
        return map_bounded(lambda row: run(self._one(settings, row, k, with_vectors), client), rows.tolist())

    def pages(self, size: int, with_payloads: bool) -> Iterator[Found]:
        """Read all objects that have the vector and pass the filter, page by page.

        Raises:
            UnreadableVectorsError: if the store has only an asynchronous client.
        """
        settings = self._readable()
        if settings is None:
            return iter(())
        collection = self._collection(self._client)
        restriction = self._reading.restriction(settings.types)
        return read_pages(collection, settings.vector_name, restriction, size, with_payloads)

    def by_id(self, ids: Sequence[str]) -> Found:
        """Read the objects with these ids, as far as they are there and have the vector; raises as ``pages``."""
        settings = self._readable()
        if settings is None:
            return Found((), (), (), ())
        return read_by_id(self._collection(self._client), settings.vector_name, ids)

    def _readable(self) -> _Settings | None:
        if self._client is None:
            raise UnreadableVectorsError(
                "this Weaviate store has only an asynchronous client, by which its vectors are not read; give the "
                "store a synchronous one, or use a method that needs none (method='standardized')"
            )
        return run(self._settings(), self._client)

    async def _asearch(self, rows: Vector, k: int, with_vectors: bool) -> list[Found]:
        if not self._usable_here():
            return await off_thread(self.search, rows, k, with_vectors)
        client = self._aclient
        settings = await arun(self._settings(), client)
        if settings is None:
            return [Found((), (), ())] * len(rows)
        return await amap_bounded(lambda row: arun(self._one(settings, row, k, with_vectors), client), rows.tolist())

    def _synchronous(self) -> Any:
        if self._client is None:
            raise InvalidInputError(
                "this Weaviate store has only an asynchronous client: use aretrieve and acalibrate, in the event loop "
                "that the client was connected in, or give the store a synchronous one"
            )
        return self._client

    def _usable_here(self) -> bool:
        """Whether the asynchronous client is connected, and in this event loop; its channel works in no other."""
        if self._client is None:
            return True
        channel = getattr(self._aclient._connection, "_grpc_channel", None)
        return channel is not None and getattr(channel, "_loop", None) is asyncio.get_running_loop()

    def _one(self, settings: _Settings, row: list[float], k: int, with_vectors: bool) -> Conversation[Found]:
        from weaviate.classes.query import MetadataQuery
        from weaviate.exceptions import WeaviateQueryError

        name = settings.vector_name
        ask = {
            "near_vector": row,
            "limit": k,
            "filters": self._reading.restriction(settings.types),
            "target_vector": name,
            "include_vector": [name] if with_vectors and name else with_vectors,
            "return_metadata": MetadataQuery(distance=True),
        }
        try:
            answer = yield Step(lambda client: self._collection(client).query.near_vector(**ask), (WeaviateQueryError,))
        except WeaviateQueryError:
            # A filter on properties that no object has brought yet is an error, but in an empty collection none can.
            first = yield Step(lambda client: self._collection(client).query.fetch_objects(limit=1))
            if first.objects:
                raise
            return Found((), (), ())
        objects = answer.objects
        vectors = [found.vector.get(name or "default") for found in objects] if with_vectors else None
        return Found([str(o.uuid) for o in objects], [o.metadata.distance for o in objects], objects, vectors)

    def _collection(self, client: Any) -> Any:
        collection = client.collections.get(self._reading.collection)
        return collection if self._reading.tenant is None else collection.with_tenant(self._reading.tenant)

    def _settings(self) -> Conversation[_Settings | None]:
        """Read the settings; None if there is no collection, or none with the label, so that nothing can be found."""
        label = self._reading.label
        needed = self._reading.keys | ({label} if label else set())
        # Properties come with the first objects that have them.
        if self._known is None or not needed <= self._known.types.keys():
            name = self._reading.collection
            self._missing = not (yield Step(lambda client: client.collections.exists(name)))
            if self._missing:
                return None
            self._known = self._read((yield Step(lambda client: client.collections.get(name).config.get())))
        return None if label and label not in self._known.types else self._known

    def _read(self, config: Any) -> _Settings:
        self._check_tenant(config.multi_tenancy_config.enabled)
        name = _vector_name(self._reading.collection, config)
        index = config.vector_index_config if name is None else config.vector_config[name].vector_index_config
        if getattr(index, "multi_vector", None) is not None:
            raise InvalidInputError(
                f"the Weaviate collection {self._reading.collection!r} holds several vectors for each object, which "
                f"have no one cosine; use a collection with a single vector for each"
            )
        distance = str(getattr(getattr(index, "distance_metric", None), "value", None))
        if distance not in _KINDS:
            raise UnknownScoreKindError(
                f"the Weaviate collection {self._reading.collection!r} compares by {distance} distance, of which no "
                f"cosine can be made; create it with one of: {', '.join(_KINDS)} (cosine is best)"
            )
        types = {prop.name: prop.data_type for prop in config.properties}
        return _Settings(_KINDS[distance], name, MappingProxyType(types))

    def _check_tenant(self, several: bool) -> None:
        name, tenant = self._reading.collection, self._reading.tenant
        if several and tenant is None:
            raise InvalidInputError(
                f"the Weaviate collection {name!r} has several tenants: in LangChain name one with "
                f"filter={{'tenant': ...}}; LlamaIndex's WeaviateVectorStore cannot"
            )
        if tenant is not None and not several:
            raise InvalidInputError(f"the Weaviate collection {name!r} has no tenants, but tenant={tenant!r} was given")


def _vector_name(collection: str, config: Any) -> str | None:
    """Name the vector to search: None for the only one, which has no name."""
    names: Sequence[str] = sorted(config.vector_config or ())
    if not names:
        return None
    if "default" in names or len(names) == 1:
        return "default" if "default" in names else names[0]
    raise InvalidInputError(
        f"the Weaviate collection {collection!r} has several named vectors, {names}, and the store does not say which "
        f"one it uses; call that one 'default', or keep the others in another collection"
    )
