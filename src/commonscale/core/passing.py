"""Which errors of stores pass by themselves, so that asking again may help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from commonscale.core.errors import CommonscaleError

PASSING: Mapping[str, bool] = MappingProxyType(
    {
        # Python's own. An OSError is a socket's or a disk's, unless it says that the path or the rights are wrong.
        "builtins.OSError": True,
        "builtins.FileExistsError": False,
        "builtins.FileNotFoundError": False,
        "builtins.IsADirectoryError": False,
        "builtins.NotADirectoryError": False,
        "builtins.PermissionError": False,
        "ssl.SSLCertVerificationError": False,
        "asyncio.TimeoutError": True,  # classes of their own before Python 3.11
        "concurrent.TimeoutError": True,
        "http.HTTPException": True,
        # Mistakes in a program, even where they were made while handling a broken connection.
        "builtins.ArithmeticError": False,
        "builtins.AssertionError": False,
        "builtins.AttributeError": False,
        "builtins.ImportError": False,
        "builtins.LookupError": False,
        "builtins.MemoryError": False,
        "builtins.NameError": False,
        "builtins.NotImplementedError": False,
        "builtins.TypeError": False,
        # What carries requests to servers.
        "httpx.TransportError": True,
        "httpx.LocalProtocolError": False,
        "httpx.UnsupportedProtocol": False,
        "requests.RequestException": False,  # an OSError; most are of the request itself
        "requests.ChunkedEncodingError": True,
        "requests.ConnectionError": True,
        "requests.RetryError": True,
        "requests.Timeout": True,
        "urllib3.MaxRetryError": True,
        "urllib3.PoolError": True,
        "urllib3.ProtocolError": True,
        "urllib3.TimeoutError": True,
        "aiohttp.ClientConnectionError": True,
        "aiohttp.ClientConnectorCertificateError": False,
        "aiohttp.ClientPayloadError": True,
        "grpc.FutureTimeoutError": True,
        # PostgreSQL.
        "sqlalchemy.DisconnectionError": True,
        "sqlalchemy.InterfaceError": True,
        "sqlalchemy.OperationalError": True,
        "sqlalchemy.TimeoutError": True,
        "psycopg.InterfaceError": True,
        "psycopg.OperationalError": True,
        "psycopg2.InterfaceError": True,
        "psycopg2.OperationalError": True,
        "asyncpg.ClientConfigurationError": False,
        "asyncpg.InsufficientResourcesError": True,
        "asyncpg.InterfaceError": True,
        "asyncpg.OperatorInterventionError": True,
        "asyncpg.PostgresConnectionError": True,
        # The clients of stores; those not named here raise the errors above.
        "chromadb.RateLimitError": True,
        "elastic_transport.ConnectionError": True,
        "elastic_transport.ConnectionTimeout": True,
        "lancedb.RetryError": True,
        "opensearchpy.ConnectionError": True,
        "pymilvus.ConnectError": True,
        "pymilvus.MilvusUnavailableException": True,
        "qdrant_client.ResourceExhaustedResponse": True,
        "qdrant_client.ResponseHandlingException": True,
        "weaviate.WeaviateConnectionError": True,
        "weaviate.WeaviateGRPCUnavailableError": True,
        "weaviate.WeaviateRetryError": True,
        "weaviate.WeaviateTimeoutError": True,
    }
)
"""Whether asking again may help, by top package and class name, so that none has to be imported. Of an error's class
and those it derives from, the nearest one named here counts."""

_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Replies in HTTP that say nothing against the request: too busy, starting, or broken for the moment."""

_CODES = frozenset({"ABORTED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""The same in gRPC."""

_MILVUS_CODES = frozenset({2, 8})
"""Codes of a MilvusException, which often has no cause: no connection, and too many requests."""


def is_passing(error: BaseException) -> bool:
    """Tell whether an error is of the connection, or of a server that is down or busy, and not of the request.

    Clients wrap what went wrong in errors of their own: the first error in the chain of causes that is known, by
    ``PASSING`` or by its status in HTTP or gRPC, decides. Errors of Commonscale and unknown ones are not passing.
    """
    for link in _chain(error):
        if isinstance(link, CommonscaleError) or not isinstance(link, Exception):
            return False
        known = _by_status(link)
        if known is None:
            known = _by_class(link)
        if known is not None:
            return known
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _by_class(error: Exception) -> bool | None:
    return next((PASSING[name] for cls in type(error).__mro__ if (name := _name(cls)) in PASSING), None)


def _name(cls: type) -> str:
    return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


def _attribute(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 (properties of some errors read arguments that they may not have)
        return None


def _by_status(error: Any) -> bool | None:
    """Judge by the server's reply, if the error holds one."""
    for holder in (error, _attribute(error, "response")):
        for name in ("status_code", "status"):
            status = _attribute(holder, name)
            if isinstance(status, int) and status >= 400:
                return status in _STATUSES
    if _name(type(error)) == "pymilvus.MilvusException" and getattr(error, "code", None) in _MILVUS_CODES:
        return True
    if any(_name(cls) == "grpc.RpcError" for cls in type(error).__mro__) and callable(getattr(error, "code", None)):
        return getattr(error.code(), "name", None) in _CODES
    return None
