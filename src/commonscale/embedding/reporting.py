"""Asking any encoder for vectors of what can be embedded, and for the reasons why the rest cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.core.types import Vector

if TYPE_CHECKING:
    from commonscale.encoders import Encoder

_BATCH = 32


class Reported(NamedTuple):
    """What came of some items.

    Attributes:
        vectors: unit rows, shape (len(kept), dimension).
        kept: index of each row's item, ascending.
        failures: index, reason and error of every other item.
    """

    vectors: Vector
    kept: list[int]
    failures: list[tuple[int, str, Exception]]


def batch_size_of(encoder: Encoder) -> int:
    """Give the encoder's own batch size, or that of the one that it wraps; 32 if there is none."""
    options = getattr(encoder, "options", None) or getattr(getattr(encoder, "encoder", None), "options", None)
    return int(getattr(options, "batch_size", _BATCH))


def embed_reporting(encoder: Encoder, pictures: bool, contents: Sequence[Any]) -> Reported:
    """Embed items; bad ones are told of.

    An encoder that has ``encode_texts_reporting`` and ``encode_images_reporting``, as those of this package do (a
    ``CachedEncoder`` if the one inside does), is asked by them; of another one, which embeds all or none, halves are
    asked for until the bad items stand alone.

    Args:
        encoder: any encoder.
        pictures: whether the items are pictures; else texts.
        contents: the items.

    Raises:
        EncoderError: if the encoder itself cannot be used.
    """
    kind = "images" if pictures else "texts"
    method = getattr(encoder, f"encode_{kind}_reporting", None)
    if method is not None:
        found = method(contents)
        return Reported(
            found.vectors, list(found.kept), [(item.index, item.reason, item.error) for item in found.failures]
        )
    return _halved(getattr(encoder, f"encode_{kind}"), contents, encoder.dimension)


def _halved(encode: Any, contents: Sequence[Any], dimension: int) -> Reported:
    if not contents:
        return Reported(np.empty((0, dimension), np.float32), [], [])
    try:
        return Reported(encode(contents), list(range(len(contents))), [])
    except (ImageError, InvalidInputError) as error:
        if len(contents) == 1:
            return Reported(np.empty((0, dimension), np.float32), [], [(0, str(error), error)])
    middle = len(contents) // 2
    first, second = _halved(encode, contents[:middle], dimension), _halved(encode, contents[middle:], dimension)
    return Reported(
        np.concatenate([first.vectors, second.vectors]),
        first.kept + [index + middle for index in second.kept],
        first.failures + [(index + middle, reason, error) for index, reason, error in second.failures],
    )
