"""From the hits of an index to what could be shown to a language model."""

from __future__ import annotations

from pathlib import Path

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, Hit
from commonscale.embedding.scan import KINDS
from commonscale.index import Document
from commonscale.prompting.items import PromptItem


def index_item(hit: Hit) -> PromptItem:
    """Make a prompt's item of a hit of an index.

    Args:
        hit: with a ``Document`` as its payload. A file is a picture if the document's modality is ``"image"``, or, in
            other modalities (a table), if its name says so.

    Returns:
        The document's words and picture, with its score and cosine.

    Raises:
        InvalidInputError: if the payload is something else; a search over another store needs another ``to_item``.
    """
    document = hit.payload
    if not isinstance(document, Document):
        raise InvalidInputError(
            f"index_item makes prompts of the documents of an index, got {type(document).__name__} for hit {hit.id!r}; "
            f"give QuestionAnswering a to_item that knows these"
        )
    return PromptItem(
        hit.id, hit.modality, document.text, picture_of(document), hit.score, hit.cosine, payload=document
    )


def picture_of(document: Document) -> Path | None:
    """Give the picture file of a document, None if it has none."""
    if document.path is None:
        return None
    path = Path(document.path)
    return path if IMAGE in (document.modality, KINDS.get(path.suffix.lower())) else None
