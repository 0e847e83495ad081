"""A core ``Source`` of the caller's own as one that delivers nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode

from commonscale.core.around import SiftingSource
from commonscale.core.calibration import Provenance
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.pages import PAGE, Page
from commonscale.core.scanning import scan
from commonscale.core.types import Candidates, Hit, Modality, Source
from commonscale.llama_index.modality import modality_of
from commonscale.llama_index.sources import StoreRequest, node_from_document


class CoreSource(SiftingSource):
    """A core ``Source`` of the caller's own, with nodes from its payloads or a catalog.

    Of one that holds several modalities the hits of another modality are left out, and it is searched deeper until
    there are enough of this one.
    """

    def __init__(self, source: Source, request: StoreRequest) -> None:
        """Wrap ``source``.

        Raises:
            InvalidInputError: if filters are given, which only vector stores understand.
        """
        if request.filters is not None:
            raise InvalidInputError(f"{type(source).__name__} is no vector store: filters= cannot be applied to it")
        super().__init__(source, request.modality)
        self._request = request
        self.provenance = Provenance()

    def sift(self, found: Candidates, k: int) -> Candidates:
        """Leave out other modalities, if there are any; nodes that this needs are kept as payloads."""
        if not self._request.mixed:
            return found
        payloads = found.payloads if found.payloads is not None else [None] * len(found.ids)
        held = self._held(list(zip(found.ids, payloads, strict=True)))
        own = [i for i, one in enumerate(held) if self._modality(one) == self._request.modality][:k]
        return Candidates(
            [found.ids[i] for i in own], found.cosines[np.array(own, dtype=np.intp)], [held[i] for i in own]
        )

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield the ids and vectors of the source's own ``scan``, of this modality only.

        Raises:
            UnreadableVectorsError: if the source has none.
            SourceError: if it holds several modalities, and there is no catalog to tell them by.
        """
        for ids, vectors in scan(self._source, self._request.modality, size):
            own = list(range(len(ids)))
            if self._request.mixed:
                held = self._held([(one, None) for one in ids])
                own = [place for place in own if self._modality(held[place]) == self._request.modality]
            if own:
                yield [ids[place] for place in own], vectors[own]

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of hits: their payloads (nodes or ``Document``s), or what the catalog has."""
        held = self._held([(hit.id, hit.payload) for hit in hits])
        key = self._request.modality_key
        return [one if isinstance(one, BaseNode) else node_from_document(one, key) for one in held]

    def _held(self, hits: Sequence[tuple[str, Any]]) -> list[Any]:
        """Give the node or ``Document`` of every id and payload; the catalog is asked once."""
        from commonscale.index.document import Document

        bare = [document_id for document_id, payload in hits if not isinstance(payload, (BaseNode, Document))]
        if bare and self._request.catalog is None:
            raise SourceError(
                f"{type(self._source).__name__} returned the document {bare[0]!r} without its node; put nodes into "
                f"Candidates.payloads, or pass docstore=, text_nodes=, image_nodes= or nodes="
            )
        fetched = iter(self._request.catalog.fetch(bare) if bare and self._request.catalog is not None else ())
        return [payload if isinstance(payload, (BaseNode, Document)) else next(fetched) for _, payload in hits]

    def _modality(self, held: Any) -> Modality:
        if isinstance(held, BaseNode):
            return modality_of(held, self._request.modality_key)
        named: Modality = held.modality
        return named
