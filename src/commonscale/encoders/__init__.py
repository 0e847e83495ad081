"""Encoders: questions, passages and pictures to unit vectors of one space."""

from typing import TYPE_CHECKING, Any

from commonscale.encoders.base import EncodedBatch, Encoder, ItemFailure, Role, Vectors
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.callables import CallableEncoder
from commonscale.encoders.centered import CenteredEncoder
from commonscale.encoders.families import FAMILIES, Family
from commonscale.encoders.images import ImageInput, ImageOptions, load_image
from commonscale.encoders.loading import load_encoder
from commonscale.encoders.options import EncodingOptions

if TYPE_CHECKING:
    from commonscale.encoders.cache.encoder import CachedEncoder

__all__ = [
    "FAMILIES",
    "BatchedEncoder",
    "CachedEncoder",
    "CallableEncoder",
    "CenteredEncoder",
    "EncodedBatch",
    "Encoder",
    "EncodingOptions",
    "Family",
    "ImageInput",
    "ImageOptions",
    "ItemFailure",
    "Role",
    "Vectors",
    "load_encoder",
    "load_image",
]


def __getattr__(name: str) -> Any:
    """Import the cache, which needs SQLite, when it is first asked for."""
    if name == "CachedEncoder":
        from commonscale.encoders.cache.encoder import CachedEncoder

        return CachedEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
