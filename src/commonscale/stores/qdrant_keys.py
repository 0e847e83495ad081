"""Payload keys as Qdrant's paths."""

from __future__ import annotations

import re

from commonscale.core.errors import InvalidInputError


def key_path(*keys: str) -> str:
    """Write keys of nested payloads as one path of Qdrant's, each taken as it is.

    Raises:
        InvalidInputError: if a key cannot be written there.
    """
    for key in keys:
        if not key or '"' in key:
            raise InvalidInputError(
                f"Qdrant cannot filter by the payload key {key!r}: its paths have no way to write empty keys and "
                f"quotes; keep it under another key, and name that (modality_key= for the modality of a mixed store)"
            )
    return ".".join(key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"' for key in keys)
