"""Encoders: questions, passages and pictures to unit vectors of one space."""

from commonscale.encoders.base import EncodedBatch, Encoder, ItemFailure, Role, Vectors
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.callables import CallableEncoder
from commonscale.encoders.families import FAMILIES, Family
from commonscale.encoders.images import ImageInput, ImageOptions, load_image
from commonscale.encoders.loading import load_encoder
from commonscale.encoders.options import EncodingOptions

__all__ = [
    "FAMILIES",
    "BatchedEncoder",
    "CallableEncoder",
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
