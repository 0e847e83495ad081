"""Commonscale's own index as a source, with its documents as LlamaIndex nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, ImageNode, TextNode

from commonscale.core.calibration import Provenance
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, Candidates, Question
from commonscale.llama_index.sources import StoreRequest


def node_from_document(document: Any) -> BaseNode:
    """Turn a ``commonscale.index.Document`` into a node of its own.

    Args:
        document: the document.

    Returns:
        An ``ImageNode`` with the document's path for an image, else a ``TextNode``; id, text and metadata are
        the document's.
    """
    metadata = dict(document.metadata)
    if document.modality == IMAGE:
        path = None if document.path is None else str(document.path)
        return ImageNode(id_=document.id, text=document.text, image_path=path, metadata=metadata)
    return TextNode(id_=document.id, text=document.text, metadata=metadata)


class EmbeddedSource:
    """Searches one modality of a ``FaissIndex``; only the hits that are kept become nodes."""

    def __init__(self, index: Any, request: StoreRequest) -> None:
        """Set up the source.

        Args:
            index: a ``commonscale.index.FaissIndex``; it may grow later.
            request: what to search in it.

        Raises:
            InvalidInputError: if filters are given, which the index does not have.
        """
        if request.filters is not None:
            raise InvalidInputError("commonscale.index.FaissIndex has no metadata filters; leave filters= out")
        self._index = index
        self._modality = request.modality
        self._source = index.source(request.modality)

    @property
    def provenance(self) -> Provenance:
        """The encoder and dimension recorded in the index."""
        recorded: Provenance = self._index.provenance().get(self._modality, Provenance())
        return recorded

    def search(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        """Search the modality; payloads are left to ``fetch``."""
        found: Sequence[Candidates] = self._source.search(questions, k)
        return [Candidates(candidates.ids, candidates.cosines) for candidates in found]

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Read documents and turn them into nodes."""
        return [node_from_document(self._index.get(node_id)) for node_id in node_ids]
