"""Ranked documents as the content of a message to a multimodal chat model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, cast

from langchain_core.documents import Document
from langchain_core.messages.content import ContentBlock

from commonscale.core.errors import ImageError, InvalidInputError, SkippedImageWarning
from commonscale.core.recorded import MODALITY_KEY
from commonscale.core.types import IMAGE, TEXT
from commonscale.core.warn import warn
from commonscale.langchain.pictures import ImageKeys, image_block

Missing = Literal["raise", "note"]


def to_content_blocks(
    documents: Sequence[Document],
    *,
    image_path_key: str = "image_path",
    image_url_key: str = "image_url",
    image_base64_key: str = "image_base64",
    mime_type_key: str = "mime_type",
    content_is_base64: bool = False,
    modality_key: str = "modality",
    folder: str | os.PathLike[str] | None = None,
    missing: Missing = "raise",
) -> list[ContentBlock]:
    """Turn documents into LangChain's standard content blocks, in their order.

    A text becomes a text block. An image becomes an image block, after a text block with its caption if its
    content is not empty. Files are read and sent as base64, with the type that their first bytes show; http(s)
    URLs are passed on. Use the blocks as ``HumanMessage(content_blocks=...)``, or the function as a step of a
    chain. Paths come from metadata: do not read pictures of documents whose metadata strangers wrote.

    Args:
        documents: best first.
        image_path_key: metadata key of a picture's file.
        image_url_key: metadata key of its URL.
        image_base64_key: metadata key of its bytes in base64.
        mime_type_key: metadata key of its type, used with base64.
        content_is_base64: whether the content of image documents is the picture in base64 and not a caption.
        modality_key: metadata key that names a document's modality: ``"image"`` is sent as a picture, ``"text"`` as
            text, any other (a table) as a picture if its metadata name one, else as text. A document without label
            is an image if its metadata name a picture, or if it was found as one.
        folder: where relative paths start.
        missing: what to do about a picture that cannot be read: ``"raise"``, or ``"note"`` to put a note in
            its place, with a ``SkippedImageWarning``.

    Returns:
        The blocks: at least one for every document with content.

    Raises:
        ImageError: if a picture is missing, cannot be read or is no picture, and ``missing="raise"``.
        InvalidInputError: if ``documents`` is no list of documents, or ``missing`` is something else.
    """
    if missing not in ("raise", "note"):
        raise InvalidInputError(f"missing must be 'raise' or 'note', got {missing!r}")
    _check(documents)
    keys = ImageKeys(image_path_key, image_url_key, image_base64_key, mime_type_key, content_is_base64, folder)
    blocks: list[dict[str, Any]] = []
    for document in documents:
        is_image = _is_image(document, modality_key, keys)
        if document.page_content and not (is_image and content_is_base64):
            blocks.append({"type": "text", "text": document.page_content})
        if is_image:
            blocks.append(_picture(document, keys, missing))
    return cast("list[ContentBlock]", blocks)


def _check(documents: Any) -> None:
    if isinstance(documents, Document):
        raise InvalidInputError(f"a list of documents is needed, got one document {documents.id!r}; put it into a list")
    if not isinstance(documents, Sequence):
        raise InvalidInputError(f"a list of documents is needed, got {type(documents).__name__}: {documents!r:.200}")
    for document in documents:
        if not isinstance(document, Document):
            raise InvalidInputError(
                f"a list of LangChain documents is needed, got one with a {type(document).__name__}: {document!r:.200}"
            )


def _is_image(document: Document, modality_key: str, keys: ImageKeys) -> bool:
    """Tell what a document is by its label, else by its picture, else by the modality it was found in."""
    label = document.metadata.get(modality_key)
    if label in (IMAGE, TEXT):
        return bool(label == IMAGE)
    if keys.found_in(document.metadata):
        return True
    return not label and document.metadata.get(MODALITY_KEY) == IMAGE


def _picture(document: Document, keys: ImageKeys, missing: Missing) -> dict[str, Any]:
    try:
        return image_block(document, keys)
    except ImageError as error:
        if missing == "raise":
            raise
        warn(f"a picture was left out of the message: {error}", SkippedImageWarning)
        return {"type": "text", "text": f"[picture {document.id or ''} is not available]".replace("  ", " ")}
