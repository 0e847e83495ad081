"""The picture of a document: where it is, its bytes and its type."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from langchain_core.documents import Document

from commonscale.core.errors import ImageError
from commonscale.core.recorded import MODALITY_KEY
from commonscale.core.types import IMAGE, TEXT
from commonscale.prompting.items import PreparedPicture

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput

_HEIF_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}

_SIGNATURES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}


@dataclass(frozen=True)
class ImageKeys:
    """Where documents keep their pictures, and the word for what they are.

    Attributes:
        path: metadata key of a file.
        url: metadata key of an http, https or data URL.
        base64: metadata key of the file's bytes in base64.
        mime_type: metadata key of the type; without it the first bytes tell.
        content_is_base64: whether the content of an image document is its picture in base64, as LangChain's
            Chroma writes it.
        folder: where relative paths start.
        modality: metadata key that names a document's modality.
    """

    path: str = "image_path"
    url: str = "image_url"
    base64: str = "image_base64"
    mime_type: str = "mime_type"
    content_is_base64: bool = False
    folder: str | os.PathLike[str] | None = None
    modality: str = "modality"

    def found_in(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether metadata name a picture."""
        return any(metadata.get(key) for key in (self.path, self.url, self.base64))

    def is_image(self, document: Document) -> bool:
        """Tell what a document is by its label, else by its picture, else by the modality it was found in."""
        label = document.metadata.get(self.modality)
        if label in (IMAGE, TEXT):
            return bool(label == IMAGE)
        if self.found_in(document.metadata):
            return True
        return not label and document.metadata.get(MODALITY_KEY) == IMAGE


def image_block(document: Document, keys: ImageKeys) -> dict[str, Any]:
    """Make the image block of a document.

    Args:
        document: a document with a picture: base64 is preferred to a path, a path to a URL.
        keys: where to look.

    Returns:
        A block with base64 and type, or with a URL, which is left for the model's provider to fetch.

    Raises:
        ImageError: if the picture is missing, cannot be read or is no picture.
    """
    metadata = document.metadata
    if keys.content_is_base64:
        return _from_base64(document, document.page_content, keys)
    if metadata.get(keys.base64):
        return _from_base64(document, metadata[keys.base64], keys)
    if metadata.get(keys.path):
        return _block(document, _read(document, metadata[keys.path], keys), None)
    url = metadata.get(keys.url)
    if not url:
        raise no_picture(document, keys)
    if str(url).startswith("data:"):
        return _block(document, _from_data_url(document, str(url)), None)
    if not str(url).startswith(("http://", "https://")):
        raise ImageError(f"the URL {url!r} of document {document.id!r} is neither http(s) nor data")
    return {"type": "image", "url": str(url)}


def picture_source(document: Document, keys: ImageKeys) -> ImageInput | None:
    """Give what ``commonscale.prompting.Pictures`` can read the picture of an image document from.

    Args:
        document: a document with a picture: base64 is preferred to a path, a path to a URL.
        keys: where to look.

    Returns:
        A data URI, a path or a URL; nothing is read or decoded yet. None if the metadata name no picture.
    """
    metadata = document.metadata
    encoded = document.page_content if keys.content_is_base64 else metadata.get(keys.base64)
    if encoded:
        text = str(encoded)
        return text if text.startswith("data:") else f"data:;base64,{text}"
    if metadata.get(keys.path):
        # As a path, so that nothing under this key can pass for a URL.
        return Path(keys.folder or "", str(metadata[keys.path]))
    return str(metadata[keys.url]) if metadata.get(keys.url) else None


def prepared_block(picture: PreparedPicture) -> dict[str, Any]:
    """Make the image block of a picture that is ready to be sent."""
    if picture.url is not None:
        return {"type": "image", "url": picture.url}
    return {"type": "image", "base64": picture.base64, "mime_type": picture.mime_type}


def no_picture(document: Document, keys: ImageKeys) -> ImageError:
    """Say that an image document names no picture."""
    return ImageError(
        f"image document {document.id!r} has no picture: none of metadata[{keys.path!r}], [{keys.url!r}] and "
        f"[{keys.base64!r}] is set; name the keys that your documents use"
    )


def _from_base64(document: Document, text: Any, keys: ImageKeys) -> dict[str, Any]:
    if str(text).startswith("data:"):
        return _block(document, _from_data_url(document, str(text)), None)
    try:
        content = base64.b64decode("".join(str(text).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"the picture of document {document.id!r} is not base64: {error}") from error
    return _block(document, content, document.metadata.get(keys.mime_type))


def _from_data_url(document: Document, url: str) -> bytes:
    head, comma, body = url.partition(",")
    try:
        content = unquote_to_bytes(body)
        content = base64.b64decode(content, validate=True) if head.endswith(";base64") else content
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"the data URL of document {document.id!r} is damaged: {error}") from error
    if not comma:
        raise ImageError(f"the data URL of document {document.id!r} has no data")
    return content


def _read(document: Document, path: Any, keys: ImageKeys) -> bytes:
    file = Path(keys.folder or "", path)
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        raise ImageError(
            f"the picture of document {document.id!r} cannot be read: {error}; give folder= if paths are relative"
        ) from error


def _block(document: Document, content: bytes, mime_type: Any) -> dict[str, Any]:
    known = mime_type or sniffed(content)
    if known is None:
        raise ImageError(
            f"the picture of document {document.id!r} ({len(content)} bytes) is no JPEG, PNG, GIF, WebP, BMP, TIFF, "
            f"AVIF or HEIC file; set metadata['mime_type'] beside base64 if it is of another type"
        )
    return {"type": "image", "base64": base64.b64encode(content).decode("ascii"), "mime_type": str(known)}


def sniffed(content: bytes) -> str | None:
    """Tell a picture's type by its first bytes.

    Args:
        content: the file.

    Returns:
        The MIME type, None if it is no known picture. File names are not asked: they are often wrong, and
        providers refuse a picture whose type is.
    """
    for signature, mime_type in _SIGNATURES.items():
        if content.startswith(signature):
            return mime_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp":
        return _HEIF_BRANDS.get(content[8:12])
    # Two letters alone would send any text about a BMW; after the file's size a bitmap has four reserved zeros.
    if content[:2] == b"BM" and content[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return None
