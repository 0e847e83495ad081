"""A fingerprint for an embedding model of another framework, from what it says of itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

NAMES = ("model_name", "model", "model_id", "repo_id")
"""Attributes that name a model, the most telling first."""

# Words of a setting's name that tell where, how fast or by whose account a vector is made, and not what it is.
# Vectors are normalized here in any case.
_ELSEWHERE = re.compile(
    r"(^|[^a-z])(api|ur[il]|host|endpoint|prox(y|ies)|region|organization|keys?|token|secret|password|credentials?"
    r"|auth|headers?|cache|callbacks?|manager|client|session|batch|timeout|retr(y|ies)|workers?|threads?|devices?"
    r"|progress|bar|verbose|normalized?|tags?|metadata|concurrency|parallel|requests)([^a-z]|$)"
    r"|^chunk_size$"  # texts in one request, in LangChain's embeddings
)
_NOTHING = object()


def model_name(model: Any) -> str | None:
    """Give the name of a model by the first attribute that has one."""
    name = next((value for key in NAMES if isinstance(value := getattr(model, key, None), str) and value), None)
    # What LlamaIndex says of models that say nothing.
    return None if name == "unknown" else name


def model_identity(model: Any, kind: str) -> str | None:
    """Name a model by its class, its own name, and a digest of the settings that change vectors.

    Settings count if they are plain values, paths, members of an Enum or types of torch, and differ from their default,
    unless their name says that they concern speed, place or access. A setting too many only costs a new computation;
    one too few would mix vectors.

    Args:
        model: an embedding model: a pydantic model, or any object.
        kind: the name of its class.

    Returns:
        ``"<class>:<model>"``, with ``":<16 hex digits>"`` if there are such settings; None if it does not name itself.
    """
    name = model_name(model)
    if name is None:
        return None
    # A second name, such as the repository beside the model, counts unless it repeats the first.
    settings = {key: value for key, value in _settings(model).items() if key not in NAMES or value != name}
    if not settings:
        return f"{kind}:{name}"
    content = json.dumps(settings, sort_keys=True).encode()
    return f"{kind}:{name}:{hashlib.blake2b(content, digest_size=8).hexdigest()}"


def _settings(model: Any) -> dict[str, Any]:
    fields: Mapping[str, Any] | None = getattr(type(model), "model_fields", None)
    if fields is None:
        return _plain({key: value for key, value in vars(model).items() if not key.startswith("_")})
    changed = {}
    for key, field in fields.items():
        value = getattr(model, key, None)
        if value != field.get_default(call_default_factory=True):
            changed[key] = value
    return _plain(changed)


def _plain(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Keep values that matter; models, clients and other objects say nothing that could be compared."""
    found = {str(key): _value(value) for key, value in values.items() if not _ELSEWHERE.search(str(key).lower())}
    return {key: value for key, value in found.items() if value is not _NOTHING}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (PurePath, Enum)) or _is_dtype(value):
        return str(value)
    if isinstance(value, Mapping):
        return _plain(value) or _NOTHING
    if isinstance(value, (list, tuple)):
        return [item for item in map(_value, value) if item is not _NOTHING]
    return _NOTHING


def _is_dtype(value: Any) -> bool:
    """Recognize ``torch.float16`` and its kin without an import of torch."""
    return (type(value).__module__, type(value).__name__) == ("torch", "dtype")
