"""From a picture of any size and pixel mode to a small JPEG or PNG file that holds nothing but its pixels.

=============================  ====================================================================
of a picture                   what is sent
=============================  ====================================================================
size                           its longer side has at most ``max_side`` pixels; never enlarged
orientation (EXIF, XMP, TIFF)  upright
gray (1, L, LA, I;16, I, F)    gray, 8 bits; 16 bits and floats scaled as :mod:`commonscale.encoders.pixels` says
any other mode                 RGB
transparency                   laid on white, as it was for embedding; on black if all that is visible is nearly white
color profile (ICC)            applied: the colors are turned into sRGB; a damaged profile is dropped
animation, pages               the first (of a PIL image: the current) frame
EXIF, GPS, XMP, comments       nothing: only pixels are encoded anew, and no file is sent as it is
=============================  ====================================================================

JPEG of quality 85, unless PNG is smaller. PNG is tried where it can be: if the picture is small, or if at least
half of its pixels equal their left neighbor, as in drawings, charts, screenshots and pages. Then it is also
sharper, because it loses nothing. Every provider takes both formats.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

import numpy as np

from commonscale.core.extras import require
from commonscale.encoders.images import ImageOptions, checked_image, opened_image
from commonscale.encoders.pixels import to_rgb, turned, upright_move, with_alpha
from commonscale.prompting.items import PreparedPicture

if TYPE_CHECKING:
    from PIL.Image import Image

QUALITY = 85
"""Of JPEG: the usual choice between bytes and visible traces (libjpeg's own default is 75)."""

_SMALL = 128 * 128
"""Pixels up to which PNG is always tried: it takes under 10 ms then."""

_FLAT = 0.5
"""Share of pixels like their left neighbor from which PNG is tried: photographs have a tenth, drawings nearly all."""

_GAP = 1.5
"""How many times larger than the target a picture stays after whole pixels were averaged; the rest is bicubic.

Together with JPEG's own scaled decoding, which stops at the target, this differs from one exact LANCZOS step
by a signal-to-noise ratio of 49 to 55 dB (12 megapixels to 700..1,024 pixels), at half its time; JPEG at
quality 85 then costs more than that.
"""

_RESAMPLED = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_GRAY = ("1", "L", "LA", "La", "I", "F")
_NEARLY_WHITE = 240


def encode_file(stream: IO[bytes], options: ImageOptions, max_side: int) -> PreparedPicture:
    """Shrink and encode a picture file.

    Args:
        stream: the file's content, at its start; it stays open.
        options: the limits of size.
        max_side: pixels of the longer side at most.

    Returns:
        What is sent.

    Raises:
        ImageError: if it is no picture, damaged or too large; the bare reason, without the picture's name.
        OSError: if the machine, not the picture, is the trouble.
    """
    with opened_image(stream, options) as image:
        size = fitted(image.size, max_side)
        # A JPEG can be decoded at a half, a quarter or an eighth: never less than asked for.
        image.draft(None, size)
        return _prepared(image, size)


def encode_image(image: Image, options: ImageOptions, max_side: int) -> PreparedPicture:
    """Do the same with a PIL image, which is not changed, beyond being loaded if it was lazy."""
    with checked_image(image, options):
        return _prepared(image, fitted(image.size, max_side))


def fitted(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Give the size of a picture whose longer side has at most ``max_side`` pixels.

    >>> fitted((4000, 3000), 1024), fitted((300, 200), 1024), fitted((10_000, 60), 1024)
    ((1024, 768), (300, 200), (1024, 6))
    """
    width, height = size
    longer = max(width, height)
    if longer <= max_side:
        return width, height
    return max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer))


def _prepared(image: Image, size: tuple[int, int]) -> PreparedPicture:
    image.load()
    gray = image.mode in _GRAY or image.mode.startswith("I;16")
    move, profile = upright_move(image), image.info.get("icc_profile")
    small = _shrunk(image, size)
    if small.mode == "RGBA":
        small = _on_ground(small)
    small = _in_srgb(small, profile) if profile else to_rgb(small)
    small = turned(small.convert("L") if gray else small, move)
    content, mime_type = _encoded(small)
    return PreparedPicture(content, mime_type, *small.size)


def _shrunk(image: Image, size: tuple[int, int]) -> Image:
    """Return a picture of the size wanted, in a mode whose values may be averaged; RGBA if it may be transparent."""
    if image.mode in _ALPHA or "transparency" in image.info:
        image = with_alpha(image)
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in _RESAMPLED:
        image = to_rgb(image)
    if image.size == size:
        return image
    pillow = require("PIL.Image", "qa")
    smaller: Image = image.resize(size, pillow.Resampling.BICUBIC, reducing_gap=_GAP)
    return smaller


def _on_ground(image: Image) -> Image:
    """Lay a picture on white, or on black if it could not be seen there."""
    pixels = np.asarray(image)
    visible = pixels[..., 3] >= 128
    unseen = bool(visible.any() and (pixels[visible][:, :3] >= _NEARLY_WHITE).all())
    ground: Image = require("PIL.Image", "qa").new("RGBA", image.size, "black" if unseen else "white")
    ground.alpha_composite(image)
    return ground.convert("RGB")


def _in_srgb(image: Image, profile: bytes) -> Image:
    cms = require("PIL.ImageCms", "qa")
    try:
        given = cms.ImageCmsProfile(io.BytesIO(profile))
        if cms.getProfileDescription(given).startswith("sRGB"):  # by far the most; 40 ms for nothing
            return to_rgb(image)
        converted: Image = cms.profileToProfile(image, given, cms.createProfile("sRGB"), outputMode="RGB")
    except (cms.PyCMSError, OSError, ValueError, TypeError):  # damaged, or a profile of other color channels
        return to_rgb(image)
    return converted


def _encoded(image: Image) -> tuple[bytes, str]:
    # A copy without notes: Pillow writes a picture's comments, profile and transparent color into the new file.
    image = image.copy()
    image.info = {}
    jpeg = _saved(image, "JPEG", quality=QUALITY)
    if image.width * image.height <= _SMALL or _flat_share(image) >= _FLAT:
        png = _saved(image, "PNG")
        if len(png) <= len(jpeg):
            return png, "image/png"
    return jpeg, "image/jpeg"


def _flat_share(image: Image) -> float:
    """Return the share of pixels that equal their left neighbor, 1 if no pixel has one."""
    pixels = np.asarray(image)[::16]  # every sixteenth row tells enough
    same = pixels[:, 1:] == pixels[:, :-1]
    return float((same if same.ndim == 2 else same.all(axis=2)).mean()) if same.size else 1.0


def _saved(image: Image, kind: str, **settings: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()
