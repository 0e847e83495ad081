"""Ranked hits as LangChain documents."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.recorded import COSINE_KEY, MISSING_KEY, MODALITY_KEY, QUESTION_KEY, SCORE_KEY
from commonscale.core.types import IMAGE, Hit, Modality, Ranking
from commonscale.langchain.image_questions import mark_of

IMAGE_PATH_KEY = "image_path"
"""Metadata key of a picture's file, as ``to_content_blocks`` reads it."""


def ranked_documents(questions: Sequence[str], rankings: Sequence[Ranking]) -> list[list[Document]]:
    """Give the documents of many questions' rankings, best first, as copies with their scores."""
    marks = [mark_of(question) for question in questions]
    return [
        [scored_copy(as_document(hit.payload, hit.id, hit.modality), hit, mark, ranking.missing) for hit in ranking]
        for mark, ranking in zip(marks, rankings, strict=True)
    ]


def scored_copy(
    document: Document, hit: Hit, mark: str | None, missing: Mapping[Modality, str] | None = None
) -> Document:
    """Copy a document and add its score, cosine, modality and question to the copy's metadata.

    Args:
        document: the stored document; it stays as it is.
        hit: its place in the ranking.
        mark: the mark of the question that the cosine belongs to; None if it is not known.
        missing: why modalities are missing from the ranking; None leaves what the document says of it.

    Returns:
        A copy with the same content and id; a document without id gets the hit's.
    """
    metadata = {**document.metadata, SCORE_KEY: hit.score, COSINE_KEY: hit.cosine, MODALITY_KEY: hit.modality}
    if mark is not None:
        metadata[QUESTION_KEY] = mark
    else:
        metadata.pop(QUESTION_KEY, None)
    if missing:
        metadata[MISSING_KEY] = dict(missing)
    elif missing is not None:
        metadata.pop(MISSING_KEY, None)
    document_id = hit.id if document.id is None else document.id
    return document.model_copy(update={"metadata": metadata, "id": document_id})


def modality_of(document: Document, *keys: str) -> Modality:
    """Tell a document's modality.

    Args:
        document: the document.
        *keys: metadata keys that may name it, the first that does counts.

    Raises:
        InvalidInputError: if none does.
    """
    for key in keys:
        if document.metadata.get(key):
            return str(document.metadata[key])
    raise InvalidInputError(
        f"document {document.id!r} ({document.page_content[:60]!r}) names no modality in its metadata, looked for "
        f"under {list(keys)}; label it, or name another key with modality_key="
    )


def as_document(payload: Any, document_id: str, modality: Modality) -> Document:
    """Turn a source's payload into a LangChain document.

    Args:
        payload: a LangChain Document (given back as it is), a Document of ``commonscale.index``, a string, None, or
            a function without arguments that gives one of these.
        document_id: the hit's id.
        modality: where it was found, for messages.

    Returns:
        The document. Of an index document the path goes to ``metadata["image_path"]`` for pictures and to
        ``metadata["source"]``, unless its own metadata have these keys.

    Raises:
        SourceError: if the payload is anything else.
    """
    if callable(payload):
        payload = payload()
    if isinstance(payload, Document):
        return payload
    if payload is None or isinstance(payload, str):
        return Document(id=document_id, page_content=payload or "")
    if all(hasattr(payload, name) for name in ("id", "modality", "text", "path", "metadata")):
        metadata = {"modality": payload.modality}
        if payload.path is not None:
            metadata["source"] = payload.path
            if payload.modality == IMAGE:
                metadata[IMAGE_PATH_KEY] = payload.path
        metadata |= copy.deepcopy(dict(payload.metadata))
        return Document(id=payload.id, page_content=payload.text, metadata=metadata)
    raise SourceError(
        f"the source of modality {modality!r} gave a payload of type {type(payload).__name__} for document "
        f"{document_id!r}; a LangChain Document, a commonscale.index Document, a string or None is needed"
    )
