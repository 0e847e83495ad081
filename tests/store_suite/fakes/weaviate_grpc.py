"""The gRPC side of the fake Weaviate; needs the client's package, whose generated messages it speaks."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import grpc
from weaviate.proto.v1 import (
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    health_weaviate_pb2,
    properties_pb2,
    search_get_pb2,
    tenants_pb2,
)

from store_suite.fakes.weaviate import FakeWeaviate, Stored
from store_suite.fakes.weaviate_filters import Refused, selects


def handlers(fake: FakeWeaviate) -> tuple[grpc.GenericRpcHandler, ...]:
    """Make the handlers of a server."""
    calls: dict[str, tuple[Any, Callable[[FakeWeaviate, Any], Any]]] = {
        "Search": (search_get_pb2.SearchRequest, _search),
        "BatchObjects": (batch_pb2.BatchObjectsRequest, _batch),
        "BatchDelete": (batch_delete_pb2.BatchDeleteRequest, _delete),
        "TenantsGet": (tenants_pb2.TenantsGetRequest, _tenants),
    }
    methods = {name: _handler(fake, message, call) for name, (message, call) in calls.items()}
    health = _handler(fake, health_weaviate_pb2.WeaviateHealthCheckRequest, _healthy)
    return (
        grpc.method_handlers_generic_handler("weaviate.v1.Weaviate", methods),
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": health}),
    )


def _handler(fake: FakeWeaviate, message: Any, call: Callable[[FakeWeaviate, Any], Any]) -> Any:
    def answered(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            if reason := fake.refuse(request):
                raise Refused(reason)
            with fake.lock:
                return call(fake, request)
        except Refused as refused:
            context.abort(grpc.StatusCode.UNKNOWN, str(refused))

    return grpc.unary_unary_rpc_method_handler(
        answered, request_deserializer=message.FromString, response_serializer=lambda reply: reply.SerializeToString()
    )


def _healthy(fake: FakeWeaviate, request: Any) -> Any:
    status = health_weaviate_pb2.WeaviateHealthCheckResponse.SERVING
    return health_weaviate_pb2.WeaviateHealthCheckResponse(status=status)


def _search(fake: FakeWeaviate, request: Any) -> Any:
    fake.searches.append(request)
    found = fake.search(request)
    return search_get_pb2.SearchReply(took=0.001, results=[_result(request.metadata, *hit) for hit in found])


def _result(wanted: Any, object_id: str, stored: Stored, distance: float | None) -> Any:
    metadata = search_get_pb2.MetadataResult()
    if wanted.uuid:
        metadata.id = object_id
        metadata.id_as_bytes = uuid.UUID(object_id).bytes
    if wanted.distance and distance is not None:
        metadata.distance, metadata.distance_present = distance, True
    if wanted.vector:
        if "" in stored.vectors:
            metadata.vector_bytes = stored.vectors[""].tobytes()
        _add_vectors(metadata, stored, [name for name in stored.vectors if name])
    _add_vectors(metadata, stored, list(wanted.vectors))
    values = {name: _value(value) for name, value in stored.properties.items() if value is not None}
    properties = search_get_pb2.PropertiesResult(non_ref_props=properties_pb2.Properties(fields=values))
    return search_get_pb2.SearchResult(metadata=metadata, properties=properties)


def _add_vectors(metadata: Any, stored: Stored, names: list[str]) -> None:
    kind = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32
    for name in names:
        if name in stored.vectors:
            raw = stored.vectors[name].tobytes()
            metadata.vectors.append(base_pb2.Vectors(name=name, vector_bytes=raw, type=kind))


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return properties_pb2.Value(bool_value=value)
    if isinstance(value, (int, float)):
        return properties_pb2.Value(number_value=value)
    if isinstance(value, list):
        texts = properties_pb2.TextValues(values=value)
        return properties_pb2.Value(list_value=properties_pb2.ListValue(text_values=texts))
    return properties_pb2.Value(text_value=value)


def _batch(fake: FakeWeaviate, request: Any) -> Any:
    errors = []
    for place, message in enumerate(request.objects):
        try:
            fake.add(message)
        except Refused as refused:
            errors.append(batch_pb2.BatchObjectsReply.BatchError(index=place, error=str(refused)))
    return batch_pb2.BatchObjectsReply(took=0.001, errors=errors)


def _delete(fake: FakeWeaviate, request: Any) -> Any:
    held = fake.of_tenant(request.collection, request.tenant)
    schema = fake.schemas[request.collection]
    gone = [i for i, stored in held.items() if selects(request.filters, i, stored, schema)]
    fake.forget()
    for object_id in gone:
        del held[object_id]
    return batch_delete_pb2.BatchDeleteReply(took=0.001, matches=len(gone), successful=len(gone))


def _tenants(fake: FakeWeaviate, request: Any) -> Any:
    status = tenants_pb2.TENANT_ACTIVITY_STATUS_ACTIVE
    names = [name for name in fake.objects.get(request.collection, {}) if name]
    tenants = [tenants_pb2.Tenant(name=name, activity_status=status) for name in names]
    return tenants_pb2.TenantsGetReply(took=0.001, tenants=tenants)
