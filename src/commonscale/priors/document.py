"""The format of a prior's file.

    {"format": "commonscale.prior", "schema_version": 2, "kind": "labeled", "modalities": ["text", "image"],
     "strength": 0.12, "method": "chance", "limit": 6.0, "slope": 1.0, ...fields of its kind}

``method`` is that of the calibration that the strength was fitted to, or null; version 1 lacks it and is still read.

The kinds and their fields are those of the classes' ``save``. Unknown fields are refused, not skipped: a field of a
later version may change what the numbers mean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonscale.core.errors import FileFormatError
from commonscale.core.files import write_text_atomically

if TYPE_CHECKING:
    from commonscale.priors.base import Prior

FORMAT = "commonscale.prior"
SCHEMA_VERSION = 2
SHARED = {"format", "schema_version", "kind", "modalities", "strength", "method", "limit", "slope"}


def head(prior: Prior) -> dict[str, Any]:
    """Give the fields that every kind has."""
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "kind": prior.kind,
        "modalities": list(prior.modalities),
        "strength": prior.strength,
        "method": prior.method,
        "limit": prior.limit,
        "slope": prior.slope,
    }


def write(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Write a document as JSON, whole or not at all; floats keep every bit."""
    write_text_atomically(path, json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a document and check that it is a prior of this version.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it is damaged, no prior, or was written by a newer version.
    """
    name = os.fspath(path)
    data = Path(path).read_bytes()
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{name}: not a prior: the file is no valid JSON ({error}); it is damaged or truncated; make it again"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileFormatError(f'{name}: not the file of a prior: it lacks "format": "{FORMAT}"')
    version = document.get("schema_version")
    if version not in (1, SCHEMA_VERSION) or isinstance(version, bool):
        raise FileFormatError(
            f"{name}: has schema version {version!r}, this commonscale reads versions 1 and {SCHEMA_VERSION}; "
            f"upgrade commonscale or make the prior again"
        )
    if version == 1:
        return {"method": None, **document}
    return document


def field(document: Mapping[str, Any], key: str, *types: type) -> Any:
    """Give a field of one of some types; a whole number serves as a float.

    Raises:
        KeyError: if it is missing.
        TypeError: if it is of another type.
    """
    value = document[key]
    wanted = (*types, int) if float in types else types
    if (isinstance(value, bool) and bool not in types) or not isinstance(value, wanted):
        raise TypeError(f"field {key!r} is {value!r}")
    return value


def refuse_unknown(document: Mapping[str, Any], own: set[str]) -> None:
    """Refuse fields that a kind does not have.

    Raises:
        ValueError: if there are any.
    """
    if unknown := sorted(set(document) - SHARED - own):
        raise ValueError(f"unknown fields {unknown} (perhaps from a newer commonscale)")
