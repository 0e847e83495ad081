"""From a picture to the data URI that a service takes: within its limit, in a format of its own."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commonscale.core.errors import ImageError
from commonscale.core.extras import require
from commonscale.encoders.pixels import is_upright

if TYPE_CHECKING:
    from PIL.Image import Image

ENCODING = 1
"""Number of this way to write pictures; part of fingerprints, so raise it with every change that alters pixels."""

_FLAT_COLORS = 256
_JPEG_QUALITY = 95
# libjpeg writes no longer side.
_LONGEST_SIDE = 65_500
# So much smaller at least with each step down; JPEG's size is nearly proportional to the area.
_STEP, _MARGIN = 0.9, 0.95


@dataclass(frozen=True)
class ImageRules:
    """What a service takes.

    Attributes:
        formats: formats of files, as Pillow calls them; PNG and JPEG must be among them.
        max_bytes: largest file, before it is written in base64.
    """

    formats: tuple[str, ...]
    max_bytes: int


def data_uri(picture: Image, content: bytes | None, rules: ImageRules) -> str:
    """Write a picture as a data URI.

    A file that the service can take stays as it is, byte for byte: of one of the formats, upright, RGB, without
    transparency or further frames, within the limit. Anything else is written anew from the upright RGB picture: as
    PNG, without loss, if it has at most 256 colors and fits; else as JPEG of quality 95 with full color resolution,
    scaled down step by step until it fits.

    Args:
        picture: upright RGB.
        content: the file that it was read from, if there is one; it was read without errors.
        rules: what the service takes.

    Returns:
        ``data:image/...;base64,...``.

    Raises:
        ImageError: if not even one pixel fits.
    """
    if content is not None and len(content) <= rules.max_bytes:
        form = _sendable_form(content, rules)
        if form is not None:
            return _uri(form, content)
    return _uri(*_written(picture, rules.max_bytes))


def _uri(form: str, content: bytes) -> str:
    return f"data:image/{form.lower()};base64,{base64.b64encode(content).decode('ascii')}"


def _sendable_form(content: bytes, rules: ImageRules) -> str | None:
    """Return the format of a file that can be sent as it is, else None."""
    pillow = require("PIL.Image", "encoders")
    with pillow.open(io.BytesIO(content)) as image:
        as_shown = image.mode == "RGB" and "transparency" not in image.info and is_upright(image)
        if image.format in rules.formats and as_shown and getattr(image, "n_frames", 1) == 1:
            return str(image.format)
    return None


def _written(picture: Image, max_bytes: int) -> tuple[str, bytes]:
    if picture.getcolors(_FLAT_COLORS) is not None:
        png = _saved(picture, "PNG")
        if len(png) <= max_bytes:
            return "PNG", png
    factor = min(1.0, _LONGEST_SIDE / max(picture.size))
    while True:
        scaled = _scaled(picture, factor)
        jpeg = _saved(scaled, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        if len(jpeg) <= max_bytes:
            return "JPEG", jpeg
        if scaled.size == (1, 1):
            raise ImageError(f"does not fit into {max_bytes} bytes, however much it is scaled down")
        factor *= min(_STEP, _MARGIN * math.sqrt(max_bytes / len(jpeg)))


def _scaled(picture: Image, factor: float) -> Image:
    """Scale down from the whole picture, so that steps do not add up."""
    if factor >= 1.0:
        return picture
    size = (max(1, int(picture.width * factor)), max(1, int(picture.height * factor)))
    return picture.resize(size, require("PIL.Image", "encoders").Resampling.LANCZOS)


def _saved(picture: Image, form: str, **settings: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **settings)
    return stream.getvalue()
