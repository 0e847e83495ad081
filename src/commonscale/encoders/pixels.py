"""From every pixel mode of Pillow to upright RGB with 8 bits a channel.

==================================  ==============================================================
mode                                becomes RGB by
==================================  ==============================================================
RGB                                 copying
1, L                                the same gray in three channels
LA, PA, RGBA, La, RGBa              being laid on white
P, L, RGB, 1 with a transparent     the same: the color or index marked transparent shows white
color
P                                   looking up its palette
CMYK, YCbCr, HSV                    Pillow's plain formulas
LAB                                 Pillow's color management, to sRGB
I;16 (any byte order)               v * 255 / 65535, rounded: 16 bits scaled, not clipped
I (32 bits)                         the same if all values lie in 0..65535, else from its least and
                                    greatest value to 0..255
F                                   v * 255 if all lie in 0..1, v if all lie in 0..255, else from
                                    its least and greatest value to 0..255; NaN or infinity: ImageError
==================================  ==============================================================

White is the ground that cut-out product shots, diagrams and screenshots of pages are drawn for, and dark text
on a transparent ground stays readable. Color profiles (ICC) are not applied: the training pipelines of CLIP
do not apply them either.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import ImageError
from commonscale.core.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image

_BAND = 1 << 18
"""Pixels that are scaled at a time: of a scan in 16 bits the float64 values would take eight bytes each, and twice."""

_ORIENTATION_TAG = 0x0112
# EXIF orientation to the name of the move that makes the picture upright (Exif 2.32, 4.6.4 A).
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def upright_rgb(image: Image) -> Image:
    """Return a new RGB picture, turned the way its orientation tag says; the table above gives the modes.

    Args:
        image: any PIL image with at least one pixel. It is not changed, beyond being loaded if it was lazy.

    Returns:
        A new image of mode RGB.

    Raises:
        ImageError: if floats are not finite, or Pillow has no way from this mode to RGB.
        Exception: what Pillow raises on damaged data.
    """
    image.load()
    rgb = turned(to_rgb(image), upright_move(image))
    return rgb.copy() if rgb is image else rgb


def is_upright(image: Image) -> bool:
    """Say whether a picture is shown as it is stored, by its orientation tag."""
    return upright_move(image) is None


def upright_move(image: Image) -> str | None:
    """Name the move, one of ``PIL.Image.Transpose``, that makes a picture upright; None if it is, or has no tag."""
    return _UPRIGHT.get(_orientation(image))


def turned(image: Image, move: str | None) -> Image:
    """Return a picture after a move of :func:`upright_move`; itself if there is none."""
    return image if move is None else image.transpose(require("PIL.Image", "encoders").Transpose[move])


def _orientation(image: Image) -> int:
    """Return the orientation tag, 1 (upright) where it is absent or the EXIF block is damaged."""
    try:
        tag: Any = image.getexif().get(_ORIENTATION_TAG, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, OSError, struct.error):
        return 1
    return tag if isinstance(tag, int) else 1


def to_rgb(image: Image) -> Image:
    """Return a picture of mode RGB, by the module's table, not turned; itself if it is one already."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        gray = _eight_bits(np.asarray(image), is_float=image.mode == "F")
        scaled: Image = require("PIL.Image", "encoders").fromarray(gray)
        return scaled.convert("RGB")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return _on_white(image)
    if image.mode == "LAB":
        return _from_lab(image)
    try:
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"its pixel mode {image.mode!r} cannot be turned into RGB: {error}") from error


def _on_white(image: Image) -> Image:
    pillow = require("PIL.Image", "encoders")
    ground: Image = pillow.new("RGBA", image.size, "white")
    ground.alpha_composite(with_alpha(image))
    return ground.convert("RGB")


def with_alpha(image: Image) -> Image:
    """Return a picture of mode RGBA; itself if it is one already."""
    if image.mode == "RGBA":
        return image
    # La has premultiplied alpha and a way to LA only.
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _from_lab(image: Image) -> Image:
    cms = require("PIL.ImageCms", "encoders")
    converted: Image = cms.profileToProfile(
        image, cms.createProfile("LAB"), cms.createProfile("sRGB"), outputMode="RGB"
    )
    return converted


def _eight_bits(values: NDArray[Any], *, is_float: bool) -> NDArray[np.uint8]:
    """Scale gray values to 0..255 as the module's table says."""
    with np.errstate(invalid="ignore"):  # a NaN is told of below
        low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("holds NaN or infinite pixels")
    ranges = (1.0, 255.0) if is_float else (65535.0,)
    top = next((top for top in ranges if low >= 0.0 and high <= top), None)
    if top is None:
        start, top = low, (high - low) or 1.0
    else:
        start = 0.0
    gray = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _BAND // values.shape[1])
    for first in range(0, len(values), rows):
        band = values[first : first + rows].astype(np.float64)
        band -= start
        band *= 255.0 / top
        gray[first : first + rows] = np.rint(band, out=band)
    return gray
