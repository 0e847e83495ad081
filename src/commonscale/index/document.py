"""One document of an index, and its line in the documents file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality
from commonscale.index.read_only import ReadOnlyDict, read_only

_FIELDS = ("id", "modality", "text", "path", "metadata")
_NONE = ReadOnlyDict()


@dataclass(frozen=True, slots=True)
class Document:
    """A passage, a picture or anything else that has a vector.

    Attributes:
        id: its name, unique in the index; any text.
        modality: which of the index's vector files it lives in, such as ``"text"`` or ``"image"``.
        text: its words, if it has any.
        path: where the file lies, if there is one.
        metadata: anything that JSON can hold. Documents that an index hands out are its own, so theirs is
            read-only, at any depth; ``copy.deepcopy`` gives a plain dict.
    """

    id: str
    modality: Modality
    text: str = ""
    path: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


def checked(document: Document) -> Document:
    """Give the document as it will be read back from disk, with nothing in it that anybody could change.

    Args:
        document: what a caller wants to store.

    Returns:
        A copy with read-only metadata; tuples in it have become lists, as JSON knows no tuples.

    Raises:
        InvalidInputError: if a field has the wrong type, or the metadata cannot be written as JSON.
    """
    if not isinstance(document, Document):
        raise InvalidInputError(f"an index stores Document objects, got {type(document).__name__} {document!r}")
    for name, kinds in (("id", str), ("modality", str), ("text", str), ("path", (str, type(None)))):
        value = getattr(document, name)
        if not isinstance(value, kinds):
            raise InvalidInputError(f"{name} of document {document.id!r} must be text, got {value!r}")
    if not document.id or not document.modality:
        raise InvalidInputError(f"a document needs an id and a modality that are not empty, got {document!r}")
    if not isinstance(document.metadata, Mapping):
        raise InvalidInputError(f"metadata of document {document.id!r} must be a mapping, got {document.metadata!r}")
    if not document.metadata:
        return replace(document, metadata=_NONE)
    try:
        copied = read_only(json.loads(json.dumps(dict(document.metadata), allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"metadata of document {document.id!r} cannot be written as JSON: {error}; "
            f"use text, finite numbers, booleans, None, lists and dicts"
        ) from error
    return replace(document, metadata=copied)


def to_line(document: Document) -> str:
    """Render a document as one line of JSON, without the line break.

    Pure ASCII: file names that are not valid Unicode (lone surrogates) survive only as escapes.
    """
    return json.dumps({name: getattr(document, name) for name in _FIELDS}, allow_nan=False, separators=(",", ":"))


def from_line(line: str) -> Document:
    """Parse what ``to_line`` wrote.

    Raises:
        ValueError: if the line is not a document.
    """
    entry = json.loads(line)
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        raise ValueError(f"a document has the fields {list(_FIELDS)}")
    return checked(Document(**entry))
