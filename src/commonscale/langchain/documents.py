"""Ranked hits as LangChain documents."""

from __future__ import annotations

from langchain_core.documents import Document

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Hit, Modality

SCORE_KEY = "commonscale_score"
"""Metadata key of a document's place on the common scale."""

COSINE_KEY = "commonscale_cosine"
"""Metadata key of its true cosine with the question."""

MODALITY_KEY = "commonscale_modality"
"""Metadata key of the modality it was found in."""


def scored_copy(document: Document, hit: Hit) -> Document:
    """Copy a document and add its score, cosine and modality to the copy's metadata.

    Args:
        document: the stored document; it stays as it is.
        hit: its place in the ranking.

    Returns:
        A copy with the same content and id; a document without id gets the hit's.
    """
    metadata = {**document.metadata, SCORE_KEY: hit.score, COSINE_KEY: hit.cosine, MODALITY_KEY: hit.modality}
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
