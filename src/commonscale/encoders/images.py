"""The one place where anything that stands for a picture becomes an upright RGB picture.

How the kinds of input are told apart; only the look of a string decides, never what happens to exist on disk:

======================================  ==========================================================
given                                   read as
======================================  ==========================================================
``Path`` (any ``os.PathLike``)          a file
``bytes``, ``bytearray``, memoryview    the contents of a picture file
PIL image                               itself, at its current frame; it is never changed
object with ``read()``                  the contents of a picture file, from its start if it can seek
``str`` starting with ``data:``         a data URI, base64 or percent-encoded
``str`` starting with ``scheme://``     a URL: http and https, and only if ``allow_urls`` is set
``str`` of 40 or more base64 characters  base64, if it decodes to the first bytes of a JPEG, PNG, GIF,
and nothing else                        WebP, BMP or TIFF file (a file name of this look: pass a ``Path``)
any other ``str``                       a path
======================================  ==========================================================

What happens to each kind of trouble:

==========================================  ======================================================
picture                                     result
==========================================  ======================================================
not there, a folder, a device               ImageError "no such file", "is a folder", ...
empty (0 bytes), not a picture              ImageError
truncated, damaged while decoding           ImageError; nothing is guessed for the missing part
EPS, ICO and others not in ``FORMATS``      ImageError (Pillow would start Ghostscript for EPS, and decodes
                                            an ICO before it tells its size)
more than ``max_pixels``                    ImageError before anything is decoded
narrower than 1 : ``max_aspect_ratio``      ImageError: resizing the short side of a 1 x 60,000 strip
                                            to 224 would need gigabytes
animated (GIF, WebP, APNG), many pages      first frame
EXIF, XMP and TIFF orientation              applied; damaged EXIF counts as upright
every pixel mode                            RGB, as :mod:`commonscale.encoders.pixels` says
==========================================  ======================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeAlias, Union

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.core.extras import require
from commonscale.core.unreadable import is_of_a_picture
from commonscale.encoders.image_sources import describe, open_source
from commonscale.encoders.pixels import upright_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

ImageInput: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "Image"]

FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TIFF", "WEBP")
"""Formats of Pillow that are read, HEIF if a plugin brings it. Formats without a signature are left out:
any bytes could pass for them."""


@dataclass(frozen=True)
class ImageOptions:
    """How pictures are read.

    Attributes:
        allow_urls: download http(s) URLs.
        allow_private_addresses: with ``allow_urls``, also from loopback, private and other addresses that
            are not on the public internet. Leave it off when URLs come from metadata others wrote.
        max_pixels: largest width times height. The default is where Pillow starts to warn of decompression
            bombs; Pillow itself refuses anything over twice ``PIL.Image.MAX_IMAGE_PIXELS``.
        max_aspect_ratio: largest long side over short side.
        max_bytes: largest download, bytes.
        timeout: seconds for a whole download.
    """

    allow_urls: bool = False
    allow_private_addresses: bool = False
    max_pixels: int = 89_478_485
    max_aspect_ratio: float = 200.0
    max_bytes: int = 50_000_000
    timeout: float = 20.0

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_aspect_ratio", "max_bytes", "timeout"):
            value = getattr(self, name)
            if not value > 0:
                raise InvalidInputError(f"{name} must be greater than zero, got {value!r}")


def load_image(source: ImageInput, options: ImageOptions | None = None) -> Image:
    """Read one picture; the module's tables say how each kind of input and trouble is treated.

    Args:
        source: a path, URL, data URI, base64, file contents, open file or PIL image.
        options: limits and permissions; None means the defaults: no URLs.

    Returns:
        A new PIL image of mode RGB, upright, with at least one pixel.

    Raises:
        ImageError: if the picture cannot be used; the message names it and says why.
        OSError: if the machine, not the picture, is the trouble: too many open files, for example.
        MissingExtraError: if Pillow is not installed.
    """
    try:
        return read_image(source, options or ImageOptions())
    except ImageError as error:
        raise ImageError(f"{describe(source)}: {error}") from error


def read_image(source: ImageInput, options: ImageOptions) -> Image:
    """Do the work of :func:`load_image`; its error gives the bare reason, without the picture's name."""
    if isinstance(source, require("PIL.Image", "encoders").Image):
        with checked_image(source, options) as image:
            return upright_rgb(image)
    with open_source(source, options) as stream, opened_image(stream, options) as image:
        return upright_rgb(image)


@contextmanager
def opened_image(stream: IO[bytes], options: ImageOptions) -> Iterator[Image]:
    """Open a picture file, look at its size before anything is decoded, and explain what goes wrong with it.

    Args:
        stream: the file's content, at its start; it stays open.
        options: the limits of size.

    Yields:
        The picture, not decoded yet. Errors of Pillow within the block become an ImageError too.

    Raises:
        ImageError: with the bare reason, without the picture's name.
        OSError: if the machine, not the picture, is the trouble.
    """
    pillow = require("PIL.Image", "encoders")
    with _damage_explained():
        if not stream.read(1):
            raise ImageError("empty (0 bytes)")
        stream.seek(0)
        pillow.init()
        formats = tuple(name for name in FORMATS if name in pillow.OPEN)
        with pillow.open(stream, formats=formats) as image:
            _check_size(image, options)
            yield image


@contextmanager
def checked_image(image: Image, options: ImageOptions) -> Iterator[Image]:
    """Do the same as :func:`opened_image` with a caller's PIL image."""
    with _damage_explained():
        _check_size(image, options)
        yield image


@contextmanager
def _damage_explained() -> Iterator[None]:
    """Turn whatever Pillow's decoders raise into an ImageError; on damaged files that is nearly anything."""
    pillow = require("PIL.Image", "encoders")
    try:
        yield
    except ImageError:
        raise
    except pillow.UnidentifiedImageError as error:
        raise ImageError(f"not a picture in a format that is read ({', '.join(FORMATS)})") from error
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise ImageError(f"too many pixels for Pillow: {error}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and not is_of_a_picture(error):
            raise  # what the file system says when the machine is the trouble; decoders give no number
        raise ImageError(f"damaged: {type(error).__name__}: {error}") from error


def _check_size(image: Image, options: ImageOptions) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"has no pixels: {width} x {height}")
    if width * height > options.max_pixels:
        raise ImageError(
            f"{width} x {height} is more than max_pixels={options.max_pixels}; scale it down, or raise the limit "
            "if you trust the file"
        )
    if max(width, height) > options.max_aspect_ratio * min(width, height):
        raise ImageError(f"{width} x {height} is narrower than max_aspect_ratio={options.max_aspect_ratio:g} allows")
