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
EPS and other formats not in ``FORMATS``    ImageError (Pillow would start Ghostscript for EPS)
more than ``max_pixels``                    ImageError before anything is decoded
narrower than 1 : ``max_aspect_ratio``      ImageError: resizing the short side of a 1 x 60,000 strip
                                            to 224 would need gigabytes
animated (GIF, WebP, APNG), many pages      first frame
EXIF, XMP and TIFF orientation              applied; damaged EXIF counts as upright
every pixel mode                            RGB, as :mod:`commonscale.encoders.pixels` says
==========================================  ======================================================
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import stat
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, Union

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.pixels import upright_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

ImageInput: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "Image"]

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP")
"""Formats of Pillow that are read, HEIF if a plugin brings it. Formats without a signature are left out:
any bytes could pass for them."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{40,}={0,2}\s*")
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM.{4}\0{4}|II\*\0|MM\0\*", re.DOTALL
)


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
        MissingExtraError: if Pillow is not installed.
    """
    options = options or ImageOptions()
    pillow = require("PIL.Image", "encoders")
    try:
        if isinstance(source, pillow.Image):
            return _converted(source, options)
        with _opened(source, options) as stream:
            return _decoded(stream, options)
    except ImageError as error:
        raise ImageError(f"{describe(source)}: {error}") from error.__cause__


def describe(source: object) -> str:
    """Name a picture in a few words: its path, its URL without secrets, or its type and size."""
    if isinstance(source, str):
        if _SCHEME.match(source):
            parts = urllib.parse.urlsplit(source)
            return _shortened(f"{parts.scheme}://{parts.hostname or ''}{parts.path}")
        return _shortened(source)
    if isinstance(source, os.PathLike):
        return repr(os.fspath(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{memoryview(source).nbytes} bytes>"
    size = getattr(source, "size", None)
    if isinstance(size, tuple):
        return f"<PIL image {getattr(source, 'mode', '?')} {size[0]}x{size[1]}>"
    return f"<{type(source).__name__}>"


def _shortened(text: str) -> str:
    return repr(text) if len(text) <= 200 else f"{text[:40]!r}... ({len(text)} characters)"


def _opened(source: object, options: ImageOptions) -> IO[bytes]:
    """Return a binary stream that can seek and is ours to close."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source, str):
        return _opened_string(source, options)
    if isinstance(source, os.PathLike):
        return _opened_file(Path(os.fsdecode(source)))
    if hasattr(source, "read"):
        return io.BytesIO(_contents(source))
    raise ImageError(f"not a picture: a path, bytes, PIL image, open file or URL is needed, got {type(source).__name__}")


def _opened_string(text: str, options: ImageOptions) -> IO[bytes]:
    if text[:5].lower() == "data:":
        return io.BytesIO(_data_uri(text))
    if _SCHEME.match(text):
        if not options.allow_urls:
            raise ImageError("URLs are not opened unless allowed; pass allow_urls=True to load_encoder()")
        from commonscale.encoders.downloads import download

        return io.BytesIO(download(text, options))
    if _BASE64.fullmatch(text) and _SIGNATURES.match(_base64("".join(text[:60].split())[:32])):
        return io.BytesIO(_base64(text))
    return _opened_file(Path(text))


def _opened_file(path: Path) -> IO[bytes]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError("is a folder, not a picture file")
        if not stat.S_ISREG(mode):
            raise ImageError("is a device or pipe, not a picture file")
        return path.open("rb")
    except FileNotFoundError as error:
        raise ImageError("no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def _contents(stream: Any) -> bytes:
    """Read a caller's stream from its start and put it back where it was."""
    try:
        seekable = stream.seekable()
        position = stream.tell() if seekable else 0
        if seekable:
            stream.seek(0)
        content = stream.read()
        if seekable:
            stream.seek(position)
    except (OSError, ValueError) as error:
        raise ImageError(f"the open file cannot be read: {error}") from error
    if not isinstance(content, bytes):
        raise ImageError(f"the open file must give bytes, it gave {type(content).__name__}; open it in mode 'rb'")
    return content


def _data_uri(text: str) -> bytes:
    header, comma, body = text.partition(",")
    if not comma:
        raise ImageError("a data URI needs a comma before its data")
    if header.lower().endswith(";base64"):
        return _base64(urllib.parse.unquote(body))
    return urllib.parse.unquote_to_bytes(body)


def _base64(text: str) -> bytes:
    compact = "".join(text.split()).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"damaged base64: {error}") from error


def _decoded(stream: IO[bytes], options: ImageOptions) -> Image:
    pillow = require("PIL.Image", "encoders")
    if not stream.read(1):
        raise ImageError("empty (0 bytes)")
    pillow.init()
    formats = tuple(name for name in FORMATS if name in pillow.OPEN)
    try:
        stream.seek(0)
        with pillow.open(stream, formats=formats) as image:
            return _converted(image, options)
    except ImageError:
        raise
    except pillow.UnidentifiedImageError as error:
        raise ImageError(f"not a picture in a format that is read ({', '.join(formats)})") from error
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise ImageError(f"too many pixels for Pillow: {error}") from error
    except Exception as error:  # noqa: BLE001 - on damaged files Pillow's decoders raise nearly anything
        raise ImageError(f"damaged: {type(error).__name__}: {error}") from error


def _converted(image: Image, options: ImageOptions) -> Image:
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
    return upright_rgb(image)
