"""Vision-language encoders: questions, passages and pictures to unit vectors of one space."""

from commonscale.encoders.base import Encoder, ImageBatch, ImageFailure, Vectors
from commonscale.encoders.batched import BatchedEncoder, EncodingOptions
from commonscale.encoders.families import FAMILIES, Family
from commonscale.encoders.images import ImageInput, ImageOptions, load_image
from commonscale.encoders.loading import load_encoder

__all__ = [
    "FAMILIES",
    "BatchedEncoder",
    "Encoder",
    "EncodingOptions",
    "Family",
    "ImageBatch",
    "ImageFailure",
    "ImageInput",
    "ImageOptions",
    "Vectors",
    "load_encoder",
    "load_image",
]
