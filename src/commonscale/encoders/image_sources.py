"""From anything that stands for a picture file to its bytes."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import stat
import urllib.parse
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from commonscale.core.errors import ImageError
from commonscale.core.unreadable import is_of_a_picture
from commonscale.encoders.downloads import download

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageOptions

# Two letters at least: C:// is a drive.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# What may hold a password or a token: user:password@ before the host, and everything from ? or # on.
_URL_SECRETS = re.compile(r"(://)[^/?#]*@|[?#].*", re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{40,}={0,2}\s*")
_SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM.{4}\0{4}|II\*\0|MM\0\*", re.DOTALL)


def describe(source: object) -> str:
    """Name a picture in a few words: its path, its URL without secrets, or its type and size."""
    if isinstance(source, str):
        if _SCHEME.match(source):
            return _shortened(_URL_SECRETS.sub(r"\1", source))
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


def open_source(source: object, options: ImageOptions) -> IO[bytes]:
    """Open whatever stands for a picture, by the first table of :mod:`commonscale.encoders.images`.

    Args:
        source: anything in that table but a PIL image.
        options: whether and how URLs are downloaded.

    Returns:
        A binary stream of the picture file that can seek and is the caller's to close.

    Raises:
        ImageError: if there is nothing to open; the message does not repeat what the source was.
        OSError: if the machine, not the picture, is the trouble: too many open files, for example.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source, str):
        return _opened_string(source, options)
    if isinstance(source, os.PathLike):
        return _opened_file(Path(os.fsdecode(source)))
    if hasattr(source, "read"):
        return io.BytesIO(_contents(source))
    raise ImageError(
        f"not a picture: a path, bytes, PIL image, open file or URL is needed, got {type(source).__name__}"
    )


def form_of(text: str) -> Literal["data", "url", "base64", "path"]:
    """Tell by its look what a string stands for."""
    if text[:5].lower() == "data:":
        return "data"
    if _SCHEME.match(text):
        return "url"
    return "base64" if _BASE64.fullmatch(text) and _begins_like_a_picture(text) else "path"


def _opened_string(text: str, options: ImageOptions) -> IO[bytes]:
    form = form_of(text)
    if form == "data":
        return io.BytesIO(_data_uri(text))
    if form == "url":
        if not options.allow_urls:
            raise ImageError("URLs are not opened unless allowed; pass allow_urls=True to load_encoder()")
        return io.BytesIO(download(text, options))
    return io.BytesIO(_base64(text)) if form == "base64" else _opened_file(Path(text))


def _begins_like_a_picture(text: str) -> bool:
    head = "".join(text[:80].split())[:32]
    return _SIGNATURES.match(_base64(head[: len(head) // 4 * 4])) is not None


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
    except ValueError as error:
        raise ImageError(f"cannot be opened: {error}") from error  # a null character in the name
    except OSError as error:
        if not is_of_a_picture(error):
            raise
        raise ImageError(f"cannot be opened: {error.strerror or error}") from error


def _contents(stream: Any) -> bytes:
    """Read a caller's stream from its start and put it back where it was."""
    try:
        seekable = hasattr(stream, "seekable") and stream.seekable()
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
