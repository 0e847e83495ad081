"""LlamaIndex's SimpleVectorStore as a source: exact, in one matrix product."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from commonscale.core.calibration import Provenance
from commonscale.core.dense import nearest, unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.pages import PAGE, Page, check_size, in_order, matrix_pages
from commonscale.core.probing import computed_probes, no_probes
from commonscale.core.question_vectors import question_rows
from commonscale.core.types import Candidates, Hit, Modality, Probe, Question, Vector
from commonscale.llama_index.catalog import NodeCatalog, nodes_of
from commonscale.llama_index.modality import modality_of, modality_of_metadata
from commonscale.llama_index.sources import StoreRequest


@dataclass(frozen=True)
class _Snapshot:
    """The store's content at one moment, and the part of it that is searched, as a matrix."""

    ids: list[str]
    vectors: list[list[float]]
    metadata: dict[str, Any]
    searched: list[list[float]]
    node_ids: list[str]
    nodes: list[BaseNode] | None
    matrix: npt.NDArray[np.float32]


class SimpleSource:
    """Searches a SimpleVectorStore's own vectors: the hits and cosines of its ``query``, without its Python loop.

    The store holds each vector as a list of floats; they are stacked into a float32 matrix at the first
    search and again after nodes were added, replaced or deleted (seen by the identity of the lists). Cosines
    agree with those of the store within float32 rounding; equal ones keep the order of insertion.
    """

    needs_check = False

    def __init__(self, store: SimpleVectorStore, request: StoreRequest) -> None:
        """Set up the source.

        Args:
            store: the store; it may grow later.
            request: what to search in it; a ``score_kind`` is not needed, since cosines are computed here.

        Raises:
            InvalidInputError: if there is no catalog to take nodes from.
        """
        self._store = store
        self._request = request
        self._catalog: NodeCatalog = request.needed_catalog(store)
        self._snapshot: _Snapshot | None = None

    @property
    def concurrent(self) -> bool:
        """Whether helping threads may search it: the vectors always allow it, the catalog if it lies in memory."""
        return self._catalog.in_memory

    @property
    def provenance(self) -> Provenance:
        """Cosines of the store's vectors; the dimension is unknown while it is empty."""
        first = next(iter(self._store.data.embedding_dict.values()), None)
        return Provenance(dimension=None if first is None else len(first), score_kind="cosine")

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Search one or many questions in one matrix product."""
        content = self._content()
        if not content.node_ids:
            return [Candidates((), np.empty(0)) for _ in questions]
        vectors = question_rows(questions, self._request.modality, content.matrix.shape[1])
        rows, cosines = nearest(content.matrix, vectors, k)
        return [
            Candidates(
                [content.node_ids[i] for i in best],
                values,
                None if content.nodes is None else [content.nodes[i] for i in best],
            )
            for best, values in zip(rows.tolist(), cosines, strict=True)
        ]

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the cosines beside the store's vectors, for verifying on demand."""
        content = self._content()
        if not content.node_ids:
            return no_probes(questions)
        rows = question_rows(questions, self._request.modality, content.matrix.shape[1])
        return computed_probes(content.matrix, content.searched, content.node_ids, rows, k)

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield node ids and unit vectors of all that is searched, ``size`` at a time, as it is at the beginning."""
        content = self._content()
        return matrix_pages(content.node_ids, content.matrix, check_size(size))

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the unit vectors (n, d) of nodes that are searched; raises as ``in_order``."""
        content = self._content()
        return in_order(dict(zip(content.node_ids, content.matrix, strict=True)), ids, "this SimpleVectorStore")

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of hits."""
        return nodes_of(hits, self._catalog)

    def _content(self) -> _Snapshot:
        data = self._store.data
        ids, vectors = list(data.embedding_dict), list(data.embedding_dict.values())
        metadata = dict(data.metadata_dict or {})
        known = self._snapshot
        # Containers compare their members by identity first: a pass over pointers while nothing has changed.
        if known is not None and (known.ids, known.vectors, known.metadata) == (ids, vectors, metadata):
            return known
        kept = [i for i, keep in enumerate(self._kept(ids, metadata)) if keep]
        node_ids, nodes = self._catalog.resolve([ids[i] for i in kept])
        searched = [vectors[i] for i in kept]
        matrix = unit_rows(searched, "stored vector") if kept else np.empty((0, 0), np.float32)
        self._snapshot = snapshot = _Snapshot(ids, vectors, metadata, searched, node_ids, nodes, matrix)
        return snapshot

    def _kept(self, ids: list[str], metadata: dict[str, Any]) -> list[bool]:
        """Tell which vectors pass the caller's filters and have the searched modality."""
        request = self._request
        if not ids or (request.filters is None and not request.mixed):
            return [True] * len(ids)
        if not metadata:
            raise InvalidInputError(
                "this SimpleVectorStore was persisted without metadata, so it can neither be filtered nor split by "
                "modality; build it anew, or use one store per modality"
            )
        passes: Callable[[str], bool] = build_metadata_filter_fn(lambda node_id: metadata[node_id], request.filters)
        return [passes(i) and (not request.mixed or self._modality(i, metadata[i]) == request.modality) for i in ids]

    def _modality(self, store_id: str, metadata: dict[str, Any]) -> Modality:
        named = modality_of_metadata(metadata, self._request.modality_key)
        if named is not None:
            return named
        node_ids, nodes = self._catalog.resolve([store_id])
        return modality_of((nodes or self._catalog.fetch(node_ids))[0], self._request.modality_key)
