"""LangChain documents as what could be sent to a language model, and what was sent as LangChain documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError, SkippedImageWarning
from commonscale.core.recorded import COSINE_KEY, MODALITY_KEY, SCORE_KEY, recorded_number
from commonscale.core.types import IMAGE, TEXT
from commonscale.core.warn import warn
from commonscale.langchain.pictures import ImageKeys, picture_source
from commonscale.prompting.items import PromptItem, SentItem

NUMBER_KEY = "commonscale_number"
"""Metadata key, in the sources of an answer, of the number that a document was sent and can be cited under."""

NOTE_KEY = "commonscale_note"
"""Metadata key, only in sources that were sent in part: why a passage stands there without its picture, or was cut."""


def prompt_items(documents: Sequence[Document], keys: ImageKeys | None = None) -> list[PromptItem]:
    """Turn retrieved documents into what a ``commonscale.prompting.PromptBuilder`` takes.

    Args:
        documents: best first, of any retriever. Scores and cosines are read from the metadata that ours write.
        keys: where the documents keep their pictures; None for the usual keys.

    Returns:
        One item per document, in order, with the document as its payload. A document without id gets one that tells its
        place. Nothing is read yet: pictures are paths, URLs or data URIs.

    Raises:
        InvalidInputError: if there is anything but documents.

    Warns:
        SkippedImageWarning: if image documents name no picture; their captions are sent alone.
    """
    check_documents(documents)
    keys = keys or ImageKeys()
    names = _names(documents)
    items = [_item(document, name, keys) for document, name in zip(documents, names, strict=True)]
    bare = [item.id for item in items if item.picture is None and keys.is_image(item.payload)]
    if bare:
        warn(
            f"{len(bare)} image document(s), such as {bare[0]!r}, name no picture under the metadata keys "
            f"{keys.base64!r}, {keys.path!r} and {keys.url!r}; only their captions are sent. Name the keys that your "
            f"documents use: keys=ImageKeys(path=...)",
            SkippedImageWarning,
        )
    return items


def source_document(sent: SentItem) -> Document:
    """Copy a document that was sent, with its number and, if it has none yet, its modality in the metadata."""
    document: Document = sent.item.payload
    metadata = {MODALITY_KEY: sent.item.modality, **document.metadata, NUMBER_KEY: sent.number}
    notes = [sent.note] if sent.note else []
    notes += [f"its text was cut to {len(sent.text)} characters"] if sent.cut else []
    if notes:
        metadata[NOTE_KEY] = "; ".join(notes)
    return document.model_copy(update={"id": sent.item.id, "metadata": metadata})


def check_documents(documents: Any) -> None:
    """Refuse what is no list of documents.

    Raises:
        InvalidInputError: if it is none.
    """
    if isinstance(documents, Document):
        raise InvalidInputError(f"a list of documents is needed, got one document {documents.id!r}; put it into a list")
    if not isinstance(documents, Sequence):
        raise InvalidInputError(f"a list of documents is needed, got {type(documents).__name__}: {documents!r:.200}")
    for document in documents:
        if not isinstance(document, Document):
            raise InvalidInputError(
                f"a list of LangChain documents is needed, got one with a {type(document).__name__}: {document!r:.200}"
            )


def _item(document: Document, name: str, keys: ImageKeys) -> PromptItem:
    metadata = document.metadata
    is_image = keys.is_image(document)
    # What a document is, before what it was found as: a picture found by its caption costs a picture.
    modality = metadata.get(keys.modality) or metadata.get(MODALITY_KEY) or (IMAGE if is_image else TEXT)
    return PromptItem(
        name,
        str(modality),
        "" if is_image and keys.content_is_base64 else document.page_content,
        picture_source(document, keys) if is_image else None,
        recorded_number(metadata, SCORE_KEY),
        recorded_number(metadata, COSINE_KEY),
        payload=document,
    )


def _names(documents: Sequence[Document]) -> list[str]:
    taken = {document.id for document in documents}
    names = []
    for place, document in enumerate(documents, start=1):
        name = document.id or f"#{place}"
        while not document.id and name in taken:
            name = f"#{name}"
        names.append(name)
    return names
