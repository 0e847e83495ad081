"""Comparing an encoder, as users load it, with an independent computation from the same checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from commonscale.core.errors import TruncationWarning
from commonscale.encoders import BatchedEncoder
from odd_pictures import OddPicture

TOLERANCE = 1e-5

TEXTS = (
    "a photo of the red dog on grass",
    "cat",
    "",
    "A photo of Two dogs, running!",
    "it's  12 \t blue\ncats",
    "the Zebra É 犬 eats 3,14",
    "7?!",
    " ".join(["dog", "cat"] * 40),
)
"""Case, accents, blanks, punctuation, digits, unknown signs, nothing at all, and far more than any tiny model reads."""


class Model(Protocol):
    """An independent computation: unit vectors of token ids and of normalized pixels."""

    def text(self, ids: list[int]) -> np.ndarray: ...

    def image(self, pixels: np.ndarray) -> np.ndarray: ...


def encoded_texts(encoder: BatchedEncoder, texts: Any) -> np.ndarray:
    """Encode texts of any length."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        return encoder.encode_texts(list(texts))


def check_texts(encoder: BatchedEncoder, model: Model, ids_of: Callable[[str], list[int]]) -> None:
    """Compare all of ``TEXTS``, together in batches and each alone."""
    expected = np.stack([model.text(ids_of(text)) for text in TEXTS])
    assert np.abs(encoded_texts(encoder, TEXTS) - expected).max() < TOLERANCE
    for text, vector in zip(TEXTS, expected, strict=True):
        assert np.abs(encoded_texts(encoder, [text])[0] - vector).max() < TOLERANCE
    # Else the agreement would prove little.
    distances = np.abs(expected[:, None] - expected[None]).max(axis=2)
    assert (distances + np.eye(len(TEXTS)) > 0.01).all()


def check_picture(
    encoder: BatchedEncoder, model: Model, picture: OddPicture, pixels_of: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Compare the pixels that reach the model, and the vector."""
    pixels = pixels_of(picture.rgb)
    vector = encoder.encode_images([picture.source])[0]
    assert np.abs(vector - model.image(pixels)).max() < TOLERANCE


def check_half_precision(
    encoder: BatchedEncoder, coarse: BatchedEncoder, pictures: list[OddPicture], most: float
) -> None:
    """Check that no component is further than ``most`` from float32's, and that something did change."""
    sources = [picture.source for picture in pictures]
    for fine, other in (
        (encoded_texts(encoder, TEXTS), encoded_texts(coarse, TEXTS)),
        (encoder.encode_images(sources), coarse.encode_images(sources)),
    ):
        assert other.dtype == np.float32
        assert np.abs(np.linalg.norm(other, axis=1) - 1).max() < 1e-6
        assert 0 < np.abs(other - fine).max() < most
