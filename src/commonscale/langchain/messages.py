"""Ranked documents as the content of a message to a multimodal chat model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

from langchain_core.documents import Document
from langchain_core.messages.content import ContentBlock

from commonscale.core.errors import ImageError, InvalidInputError, SkippedImageWarning
from commonscale.core.warn import warn
from commonscale.langchain.pictures import ImageKeys, image_block, no_picture, picture_source, prepared_block
from commonscale.langchain.prompt_items import check_documents
from commonscale.prompting.items import PreparedPicture
from commonscale.prompting.pictures import Pictures

Missing = Literal["raise", "note"]

_Ahead: TypeAlias = PreparedPicture | ImageError | None
"""What came of a picture that was prepared with others; None if it was left for later."""


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
    pictures: Pictures | None = None,
) -> list[ContentBlock]:
    """Turn documents into LangChain's standard content blocks, in their order.

    A text becomes a text block. An image becomes an image block, after a text block with its caption if its
    content is not empty. Files are read and sent as base64, with the type that their first bytes show; http(s)
    URLs are passed on. Use the blocks as ``HumanMessage(content_blocks=...)``, or the function as a step of a
    chain.

    Paths and URLs come from metadata. If strangers may have written these, give ``pictures=Pictures([folder])``: then
    nothing else is read, and pictures are shrunk. ``prompt_items`` and ``prompt_blocks`` number documents and keep to a
    budget as well; ``create_multimodal_qa_chain`` does all of it.

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
        folder: where relative paths start; with ``pictures``, its folders by default.
        missing: what to do about a picture that cannot be read: ``"raise"``, or ``"note"`` to put a note in
            its place, with a ``SkippedImageWarning``.
        pictures: reads, shrinks and encodes the pictures, from where it may and from nowhere else; None reads
            whatever the metadata name, and sends it as it is.

    Returns:
        The blocks: at least one for every document with content.

    Raises:
        ImageError: if a picture is missing, may not or cannot be read, or is no picture, and ``missing="raise"``.
        InvalidInputError: if ``documents`` is no list of documents, or ``missing`` is something else.
    """
    if missing not in ("raise", "note"):
        raise InvalidInputError(f"missing must be 'raise' or 'note', got {missing!r}")
    check_documents(documents)
    keys = ImageKeys(
        image_path_key, image_url_key, image_base64_key, mime_type_key, content_is_base64, folder, modality_key
    )
    ahead = {} if pictures is None else _prepared_ahead(documents, keys, pictures)
    blocks: list[dict[str, Any]] = []
    for place, document in enumerate(documents):
        is_image = keys.is_image(document)
        if document.page_content and not (is_image and content_is_base64):
            blocks.append({"type": "text", "text": document.page_content})
        if is_image:
            blocks.append(_picture(document, keys, missing, pictures, ahead.get(place)))
    return cast("list[ContentBlock]", blocks)


def _prepared_ahead(documents: Sequence[Document], keys: ImageKeys, pictures: Pictures) -> dict[int, _Ahead]:
    """Prepare the pictures of documents side by side, and give what came of each by its document's place."""
    found = {place: picture_source(one, keys) for place, one in enumerate(documents) if keys.is_image(one)}
    sources = {place: source for place, source in found.items() if source is not None}
    return dict(zip(sources, pictures.prepare_all(sources.values()), strict=True))


def _picture(
    document: Document, keys: ImageKeys, missing: Missing, pictures: Pictures | None, ahead: _Ahead
) -> dict[str, Any]:
    try:
        return image_block(document, keys) if pictures is None else _prepared(document, keys, pictures, ahead)
    except ImageError as error:
        if missing == "raise":
            raise
        warn(f"a picture was left out of the message: {error}", SkippedImageWarning)
        return {"type": "text", "text": f"[picture {document.id or ''} is not available]".replace("  ", " ")}


def _prepared(document: Document, keys: ImageKeys, pictures: Pictures, ahead: _Ahead) -> dict[str, Any]:
    source = picture_source(document, keys)
    if source is None:
        raise no_picture(document, keys)
    try:
        # A download that failed takes its time, and is not tried again.
        if isinstance(ahead, ImageError):
            raise ahead
        return prepared_block(ahead or pictures.prepare(source))
    except ImageError as error:
        raise ImageError(f"the picture of document {document.id!r} cannot be sent: {error}") from error
