"""LlamaIndex's FaissVectorStore as a source of true cosines, whatever its metric."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from commonscale.core.calibration import Provenance
from commonscale.core.cosines import to_cosine
from commonscale.core.dense import unit_rows
from commonscale.core.errors import CommonscaleWarning, InvalidInputError, UnknownScoreKindError
from commonscale.core.extras import require
from commonscale.core.types import Candidates, Question
from commonscale.core.warn import warn
from commonscale.llama_index.catalog import NodeCatalog
from commonscale.llama_index.modality import modality_of
from commonscale.llama_index.sources import ScoreKindName, StoreRequest, stack

TOLERANCE = 1e-3
"""How far from 1 a stored vector's norm may lie to count as unit: half precision and 8-bit codes round this much."""

_CHUNK = 16_384


class FaissSource:
    """Searches the FAISS index under a FaissVectorStore, many questions at once.

    The score is an inner product or a squared L2 distance (lower is better, though LlamaIndex calls both
    similarity); both give the cosine only for vectors of unit norm. Norms are therefore checked once, and
    again for rows that are added later. Where vectors are not of unit norm the metric also ranks wrongly:
    a flat index is then searched in a normalized copy (exact; a warning states its size), and an approximate
    one is asked for four times as many hits, whose cosines are recomputed from their reconstructed vectors.

    FAISS knows rows, not nodes: filters and the modality of a mixed store are applied to the catalog's nodes
    and reach FAISS as a selection of rows, so that they hold before the search, not after it.
    """

    def __init__(self, store: Any, request: StoreRequest) -> None:
        """Set up the source.

        Args:
            store: a FaissVectorStore; it may grow later.
            request: what to search in it. With a ``score_kind``, scores are read as that and norms are not checked.

        Raises:
            MissingExtraError: if FAISS is not installed.
            InvalidInputError: if there is no catalog to take nodes from.
            UnknownScoreKindError: if the index has a metric without a way back to the cosine.
        """
        self._faiss: Any = require("faiss", "faiss")
        self._store = store
        self._index: Any = store.client
        self._request = request
        self._catalog: NodeCatalog = request.needed_catalog(store)
        self._kind: ScoreKindName = request.score_kind or self._metric()
        self._flat = isinstance(self._faiss.downcast_index(self._index), self._faiss.IndexFlat)
        # Guards what is learnt of the rows below, since searches run in several threads.
        self._lock = threading.Lock()
        self._checked = 0
        self._unit = True
        self._normalized: Any = None
        self._selected = np.empty(0, dtype=np.int64)
        self._classified = 0

    @property
    def provenance(self) -> Provenance:
        """The index's dimension and metric."""
        kind = self._kind
        return Provenance(dimension=self._index.d, score_kind=kind if isinstance(kind, str) else None)

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Search one or many questions in one call of FAISS."""
        vectors = stack(questions, self._request.modality, self._index.d, self._store)
        with self._lock:
            available, parameters = self._selection()
            if available:
                self._check_norms()
        if not available:
            return [Candidates((), np.empty(0)) for _ in questions]
        count = min(k, available)
        if self._unit or self._flat:
            index, kind = (self._index, self._kind) if self._unit else (self._normalized, "inner_product")
            scores, rows = index.search(vectors, count, params=parameters)
            if (rows >= 0).all():
                return [self._candidates(*pair) for pair in zip(rows, _cosines(scores, kind), strict=True)]
            return [self._candidates(r[r >= 0], _cosines(s[r >= 0], kind)) for r, s in zip(rows, scores, strict=True)]
        return self._recomputed(vectors, count, available, parameters)

    def fetch(self, node_ids: Sequence[str]) -> list[BaseNode]:
        """Read nodes from the catalog."""
        return self._catalog.fetch(node_ids)

    def _candidates(self, rows: npt.NDArray[np.int64], cosines: npt.NDArray[np.float64]) -> Candidates:
        ids, nodes = self._catalog.resolve([str(row) for row in rows.tolist()])
        return Candidates(ids, cosines, nodes)

    def _metric(self) -> str:
        metrics = {self._faiss.METRIC_INNER_PRODUCT: "inner_product", self._faiss.METRIC_L2: "squared_l2"}
        kind = metrics.get(self._index.metric_type)
        if kind is None:
            raise UnknownScoreKindError(
                f"the FAISS index has metric {self._index.metric_type}; inner product (0) and L2 (1) are known: "
                f"build it with one of them, or pass score_kind= a function from its scores to cosines"
            )
        return kind

    def _recomputed(
        self, vectors: npt.NDArray[np.float32], count: int, available: int, parameters: Any
    ) -> list[Candidates]:
        """Search an approximate index over vectors that are not of unit norm."""
        wide = min(4 * count, available)
        _, rows, stored = self._index.search_and_reconstruct(vectors, wide, params=parameters)
        found = []
        for question, line, near in zip(vectors, rows, stored, strict=True):
            kept = line >= 0
            cosines = np.clip(unit_rows(near[kept], "stored vector") @ question, -1.0, 1.0).astype(np.float64)
            best = np.argsort(-cosines, kind="stable")[:count]
            found.append(self._candidates(line[kept][best], cosines[best]))
        return found

    def _check_norms(self) -> None:
        """Check the norms of rows that have not been checked, and keep the normalized copy up to date."""
        total = self._index.ntotal
        if self._checked == total or self._request.score_kind is not None:
            return
        if self._checked > total:
            self._checked, self._unit, self._normalized = 0, True, None
        if self._unit:
            self._unit = all(_are_unit(rows) for rows in self._new_rows(total))
        if not self._unit and self._flat:
            self._grow_copy(total)
        self._checked = total

    def _grow_copy(self, total: int) -> None:
        copy = self._normalized
        if copy is None:
            copy, self._checked = self._faiss.IndexFlatIP(self._index.d), 0
            warn(
                f"the FaissVectorStore of modality {self._request.modality!r} holds vectors that are not of unit norm, "
                f"so its scores are no cosines: searching a normalized copy in memory "
                f"({total * self._index.d * 4 / 1e6:.1f} MB); normalize vectors before indexing to do without it",
                CommonscaleWarning,
            )
        for rows in self._new_rows(total):
            copy.add(unit_rows(rows, "stored vector"))
        self._normalized = copy

    def _new_rows(self, total: int) -> Any:
        try:
            for start in range(self._checked, total, _CHUNK):
                yield self._index.reconstruct_n(start, min(_CHUNK, total - start))
        except RuntimeError as error:
            raise InvalidInputError(
                f"this {type(self._index).__name__} cannot give its vectors back, so their norms cannot be checked: "
                f"if they are of unit norm, pass score_kind={self._metric()!r}"
            ) from error

    def _selection(self) -> tuple[int, Any]:
        """Give the number of rows to search and FAISS's parameters that restrict a search to them."""
        total = self._index.ntotal
        if not self._request.mixed and self._request.filters is None:
            return total, None
        if self._classified != total:
            start = self._classified if self._classified < total else 0
            new = np.array(self._matching(range(start, total)), dtype=np.int64)
            self._selected = np.concatenate([self._selected[:0] if start == 0 else self._selected, new])
            self._classified = total
        return len(self._selected), self._parameters() if len(self._selected) else None

    def _matching(self, rows: range) -> list[int]:
        node_ids, nodes = self._catalog.resolve([str(row) for row in rows])
        nodes = nodes if nodes is not None else self._catalog.fetch(node_ids)
        request = self._request
        metadata = {node.node_id: node.metadata for node in nodes}
        passes = build_metadata_filter_fn(lambda node_id: metadata[node_id], request.filters)
        return [
            row
            for row, node in zip(rows, nodes, strict=True)
            if passes(node.node_id)
            and (not request.mixed or modality_of(node, request.modality_key) == request.modality)
        ]

    def _parameters(self) -> Any:
        faiss = self._faiss
        index = faiss.downcast_index(self._index)
        selector = faiss.IDSelectorBatch(self._selected)
        if isinstance(index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
        if isinstance(index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
        return faiss.SearchParameters(sel=selector)


def _are_unit(rows: npt.NDArray[np.float32]) -> bool:
    return bool(np.abs(np.linalg.norm(rows, axis=1) - 1.0).max() < TOLERANCE)


def _cosines(scores: npt.NDArray[np.float32], kind: ScoreKindName) -> npt.NDArray[np.float64]:
    cosines: npt.NDArray[np.float64] = to_cosine(scores.ravel(), kind).reshape(scores.shape)
    return cosines
