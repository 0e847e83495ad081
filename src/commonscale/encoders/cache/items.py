"""What a text or a picture is known by in a cache: a hash of its bytes, of the encoder and of the role."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from commonscale.core.errors import ImageError
from commonscale.core.extras import require
from commonscale.encoders.base import Role
from commonscale.encoders.downloads import download
from commonscale.encoders.image_sources import form_of, open_source
from commonscale.encoders.images import ImageOptions

_BLOCK = 1 << 20
_ORIENTATION = 0x0112

Stamp = tuple[int, int, int]
"""Inode, size and time of change (ns) of a file: equal before and after means that it was not written between."""


@dataclass(frozen=True, slots=True)
class Item:
    """One text or picture on its way through a cache.

    Attributes:
        index: its place in what was given.
        content: what the encoder is given.
        key: what it is known by; None if it cannot be read here, so that only the encoder can tell.
        held: bytes that are kept in memory for it alone.
        path: the file that was hashed, if it is one.
        stamp: that file's stamp when it was hashed.
        error: why it cannot be used, if that is known already.
    """

    index: int
    content: Any
    key: bytes | None = None
    held: int = 0
    path: str | None = None
    stamp: Stamp | None = None
    error: Exception | None = None

    @property
    def unchanged(self) -> bool:
        """Whether the encoder has read what was hashed; a file may have been written in the meantime."""
        if self.path is None:
            return True
        try:
            return _stamp(Path(self.path).stat()) == self.stamp
        except OSError:
            return False


def text_items(texts: Iterable[tuple[int, str]], fingerprint: str, role: Role) -> Iterator[Item]:
    """Make the items of texts that can be encoded as UTF-8, given with their places."""
    start = _hasher(fingerprint, role)
    for index, text in texts:
        digest = start.copy()
        digest.update(text.encode())
        yield Item(index, text, digest.digest())


def image_items(images: Iterable[Any], fingerprint: str, options: ImageOptions) -> Iterator[Item]:
    """Make the items of pictures, reading each when it is asked for.

    Whatever form a picture file comes in, its bytes are its key. A PIL image has no file any more: its key is what
    decides its upright RGB form. What cannot be read has no key and is left to the encoder, whose message it is then.

    Args:
        images: anything that encoders take as pictures.
        fingerprint: the encoder's.
        options: whether and how URLs are downloaded.
    """
    file, pixels = _hasher(fingerprint, "image"), _hasher(fingerprint, "pixels")
    for index, image in enumerate(images):
        try:
            if _is_pil(image):
                yield Item(index, image, _of_pixels(image, pixels.copy()))
            elif isinstance(image, str) and form_of(image) == "url":
                yield _of_url(index, image, file, options)
            else:
                yield _of_source(index, image, file, options)
        except ImageError:
            yield Item(index, image)


def _hasher(fingerprint: str, role: str) -> Any:
    identity = hashlib.blake2b(f"{role}\0{fingerprint}".encode()).digest()
    return hashlib.blake2b(identity, digest_size=24)


def _of_url(index: int, url: str, start: Any, options: ImageOptions) -> Item:
    if not options.allow_urls:
        return Item(index, url)
    try:
        content = download(url, options)
    except ImageError as error:
        # Not left to the encoder: it would only ask the server again.
        return Item(index, url, error=error)
    return Item(index, content, _of_bytes(content, start.copy()), held=len(content))


def _of_source(index: int, source: Any, start: Any, options: ImageOptions) -> Item:
    with open_source(source, options) as stream:
        if hasattr(source, "read"):
            # Read here: a stream that cannot go back gives its content once.
            content = stream.read()
            return Item(index, content, _of_bytes(content, start.copy()), held=len(content))
        path = _path_of(source)
        stamp = None if path is None else _stamp(os.fstat(stream.fileno()))
        return Item(index, source, _of_stream(stream, start.copy()), path=path, stamp=stamp)


def _path_of(source: Any) -> str | None:
    if isinstance(source, os.PathLike):
        return os.fsdecode(source)
    return source if isinstance(source, str) and form_of(source) == "path" else None


def _of_bytes(content: bytes, digest: Any) -> bytes:
    digest.update(content)
    result: bytes = digest.digest()
    return result


def _of_stream(stream: IO[bytes], digest: Any) -> bytes:
    try:
        while block := stream.read(_BLOCK):
            digest.update(block)
    except OSError as error:
        raise ImageError(f"cannot be read: {error}") from error
    result: bytes = digest.digest()
    return result


def _is_pil(image: object) -> bool:
    # By its look first: a path must not import Pillow.
    return hasattr(image, "tobytes") and hasattr(image, "getexif") and isinstance(image, _image_class())


def _image_class() -> Any:
    return require("PIL.Image", "encoders").Image


def _of_pixels(image: Any, digest: Any) -> bytes:
    try:
        image.load()
        try:
            orientation = image.getexif().get(_ORIENTATION)
        except Exception:  # noqa: BLE001 (a damaged EXIF block counts as none, as when the picture is read)
            orientation = None
        facts = (image.mode, image.size, image.info.get("transparency"), orientation)
        digest.update(repr(facts).encode())
        # Pillow changes the alphas of a palette while it converts an image, but not what it converts it to.
        digest.update((image.convert("RGBA") if image.mode in ("P", "PA") else image).tobytes())
    except Exception as error:
        raise ImageError(f"damaged: {type(error).__name__}: {error}") from error
    result: bytes = digest.digest()
    return result


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns
