"""A fake Weaviate: schema by REST, objects and searches by gRPC with the client's own generated messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from store_suite.fakes.http import Rejected, Request, Routes, serve
from store_suite.fakes.weaviate_filters import Refused, selects
from store_suite.fakes.weaviate_schema import normalized, property_of

VERSION = "1.33.0"


class Stored(NamedTuple):
    """One object: its properties and its vectors by name ("" for the one without a name)."""

    properties: dict[str, Any]
    vectors: dict[str, np.ndarray]


class FakeWeaviate(Routes):
    """Collections by name, objects by tenant and id, in memory, exact."""

    def __init__(self) -> None:
        super().__init__()
        self.schemas: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, dict[str, dict[str, Stored]]] = {}
        self.searches: list[Any] = []
        self._selected: dict[tuple[str, str, bytes], list[str]] = {}
        self.grpc_port = 0
        self.client: Any = None  # shared by the stores of the tests, since making one takes longer than most tests
        self.refuse: Callable[[Any], str | None] = lambda request: None

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        return [
            ("GET", "/v1/meta", lambda request: (200, {"hostname": self.url, "modules": {}, "version": VERSION})),
            ("GET", "/v1/.well-known/openid-configuration", lambda request: (404, None)),
            ("GET", "/v1/.well-known/ready", lambda request: (200, None)),
            # Without batchStats, as with asynchronous indexing; the client then sends all that it has at once.
            ("GET", "/v1/nodes", lambda request: (200, {"nodes": [{"name": "fake", "status": "HEALTHY"}]})),
            ("GET", "/v1/schema", lambda request: (200, {"classes": list(self.schemas.values())})),
            ("POST", "/v1/schema", self.create),
            ("GET", r"/v1/schema/([^/]+)", lambda request, name: (200, self.schema(name))),
            ("DELETE", r"/v1/schema/([^/]+)", self.drop),
            ("POST", r"/v1/schema/([^/]+)/tenants", self.create_tenants),
        ]

    def rejection(self, rejected: Rejected) -> Any:
        return {"error": [{"message": rejected.reason}]}

    def schema(self, name: str) -> dict[str, Any]:
        """A collection's schema."""
        if name not in self.schemas:
            raise Rejected(404, "", f"class {name!r} not found")
        return self.schemas[name]

    def create(self, request: Request) -> tuple[int, Any]:
        """Create a collection."""
        schema = normalized(request.body)
        self.schemas[schema["class"]] = schema
        self.objects[schema["class"]] = {} if schema["multiTenancyConfig"]["enabled"] else {"": {}}
        return 200, schema

    def drop(self, request: Request, name: str) -> tuple[int, Any]:
        """Delete a collection."""
        self.schemas.pop(name, None)
        self.objects.pop(name, None)
        return 200, None

    def create_tenants(self, request: Request, name: str) -> tuple[int, Any]:
        """Create tenants."""
        for tenant in request.body:
            self.objects[self.schema(name)["class"]].setdefault(tenant["name"], {})
        return 200, request.body

    def of_tenant(self, collection: str, tenant: str) -> dict[str, Stored]:
        """The objects of a collection, of one tenant if it has several."""
        if collection not in self.schemas:
            raise Refused(f"could not find class {collection} in schema")
        several = self.schemas[collection]["multiTenancyConfig"]["enabled"]
        if several and not tenant:
            raise Refused(f"class {collection} has multi-tenancy enabled, but request was without tenant")
        if tenant and not several:
            raise Refused(f"class {collection} has multi-tenancy disabled, but request was with tenant")
        if tenant not in self.objects[collection]:
            raise Refused(f"tenant not found: {tenant!r}")
        return self.objects[collection][tenant]

    def forget(self) -> None:
        """Forget what filters selected, since objects have changed."""
        self._selected.clear()

    def add(self, message: Any) -> None:
        """Write one object of a batch; properties that the schema lacks are added to it."""
        _only(message, {"uuid", "collection", "tenant", "properties", "vector_bytes", "vectors"})
        held = self.of_tenant(message.collection, message.tenant)
        self.forget()
        _only(message.properties, {"non_ref_properties", "text_array_properties", "number_array_properties"})
        properties: dict[str, Any] = dict(message.properties.non_ref_properties)
        for array in message.properties.text_array_properties:
            properties[array.prop_name] = list(array.values)
        schema = self.schemas[message.collection]
        have = {prop["name"] for prop in schema["properties"]}
        schema["properties"] += [property_of(name, value) for name, value in properties.items() if name not in have]
        vectors = {v.name: _floats(v.vector_bytes) for v in message.vectors}
        if message.vector_bytes:
            vectors[""] = _floats(message.vector_bytes)
        # A named vector that is the only one may be given without its name.
        if "" in vectors and (names := schema.get("vectorConfig")):
            vectors[next(iter(names))] = vectors.pop("")
        held[message.uuid] = Stored(properties, vectors)

    def search(self, request: Any) -> list[tuple[str, Stored, float | None]]:
        """Find objects, with their distances if a vector was given."""
        known = {"collection", "tenant", "properties", "metadata", "limit", "filters", "near_vector", "after"}
        _only(request, known | {"uses_123_api", "uses_125_api", "uses_127_api"})
        held = self.of_tenant(request.collection, request.tenant)
        schema = self.schemas[request.collection]
        passing = self._passing(request, held, schema)
        limit = request.limit or 10
        if not request.HasField("near_vector"):
            return [(i, held[i], None) for i in _after(request, passing)[:limit]]
        _only(request.near_vector, {"vectors", "targets", "vector_for_targets"})
        question, name, distance = self._asked(request.near_vector, schema)
        having = [i for i in passing if name in held[i].vectors]
        if not having:
            return []
        rows = np.array([held[i].vectors[name] for i in having], dtype=np.float64)
        if rows.shape[1] != len(question):
            raise Refused(f"vector lengths don't match: {rows.shape[1]} vs {len(question)}")
        distances = _DISTANCES[distance](rows, question)
        order = np.argsort(distances, kind="stable")[:limit]
        return [(having[i], held[having[i]], float(np.float32(distances[i]))) for i in order]

    def _passing(self, request: Any, held: dict[str, Stored], schema: dict[str, Any]) -> list[str]:
        if not request.HasField("filters"):
            return list(held)
        key = (request.collection, request.tenant, request.filters.SerializeToString())
        if key not in self._selected:
            # Filters that do not fit the schema are refused in empty collections too.
            selects(request.filters, "", Stored({}, {}), schema)
            self._selected[key] = [i for i in held if selects(request.filters, i, held[i], schema)]
        return self._selected[key]

    def _asked(self, near: Any, schema: dict[str, Any]) -> tuple[np.ndarray, str, str]:
        names = list(near.targets.target_vectors)
        named = schema.get("vectorConfig")
        if not named:
            if names:
                raise Refused(f"class {schema['class']} does not have named vector {names} configured")
            return _floats(near.vectors[0].vector_bytes), "", schema["vectorIndexConfig"]["distance"]
        if not names and len(named) > 1:
            raise Refused(f"class {schema['class']} has multiple vectors, but no target vectors were provided")
        name = names[0] if names else next(iter(named))
        given = near.vector_for_targets[0].vectors if near.vector_for_targets else near.vectors
        return _floats(given[0].vector_bytes), name, named[name]["vectorIndexConfig"]["distance"]


_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": lambda rows, q: 1 - rows @ q / np.linalg.norm(rows, axis=1) / np.linalg.norm(q),
    "dot": lambda rows, q: -(rows @ q),
    "l2-squared": lambda rows, q: ((rows - q) ** 2).sum(axis=1),
}


def _after(request: Any, passing: list[str]) -> list[str]:
    """What comes behind a cursor, which goes by ids and takes no filter."""
    if request.after and request.HasField("filters"):
        raise Refused("cursor api: invalid 'after' parameter: 'where' filter is set")
    return sorted(i for i in passing if i > request.after)


def _only(message: Any, known: set[str]) -> None:
    """Refuse messages with other fields set than these."""
    if unknown := {field.name for field, _ in message.ListFields()} - known:
        raise Refused(f"this fake does not know the field {sorted(unknown)} of {type(message).__name__}")


def _floats(raw: bytes) -> np.ndarray:
    return np.frombuffer(raw, dtype="<f4")


@contextmanager
def serve_weaviate() -> Iterator[FakeWeaviate]:
    """Serve both protocols on free ports of the loopback interface until the end."""
    import grpc

    from store_suite.fakes.weaviate_grpc import handlers

    fake = FakeWeaviate()
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(handlers(fake))
    fake.grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with serve(fake):
            yield fake
    finally:
        if fake.client is not None:
            fake.client.close()
        server.stop(None).wait()
