"""What makes an object an encoder, without loading anything that encoders need."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

METHODS = ("encode_questions", "encode_texts", "encode_images")
PROPERTIES = ("dimension", "fingerprint")


def lacking(encoder: object, names: Sequence[str] = METHODS + PROPERTIES) -> list[str]:
    """Name what an object lacks to be an :class:`~commonscale.encoders.base.Encoder`.

    ``isinstance`` with a protocol reads every attribute, and the dimension of some encoders is found by embedding
    something: here properties are only looked for.

    Args:
        encoder: any object; a class itself lacks everything.
        names: what is asked of it.
    """
    return [name for name in names if isinstance(encoder, type) or not _has(encoder, name)]


def _has(encoder: object, name: str) -> bool:
    if name in METHODS:
        return callable(getattr(encoder, name, None))
    return inspect.getattr_static(encoder, name, None) is not None or hasattr(encoder, name)
