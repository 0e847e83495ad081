"""LlamaIndex's FaissVectorStore as a source of true cosines, whatever its metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from commonscale.core.calibration import Provenance
from commonscale.core.errors import SourceError
from commonscale.core.extras import require
from commonscale.core.faiss_cosines import FaissCosines
from commonscale.core.faiss_pages import row_pages
from commonscale.core.faiss_vectors import Rows
from commonscale.core.pages import PAGE, Page, check_size, picked
from commonscale.core.question_vectors import question_rows
from commonscale.core.sameness import LastItems, begins_with
from commonscale.core.types import Candidates, Hit, Probe, Question, Vector
from commonscale.llama_index.catalog import NodeCatalog, nodes_of
from commonscale.llama_index.modality import modality_of
from commonscale.llama_index.sources import StoreRequest, kind_name


@dataclass(frozen=True)
class _Known:
    """What was seen at the last look, and what it was decided from which rows are searched."""

    cosines: FaissCosines
    grounds: Sequence[object] | None


class FaissSource:
    """Searches the FAISS index under a FaissVectorStore, many questions in one call.

    The store returns inner products or squared L2 distances (lower is better) under the name of similarities.
    ``FaissCosines`` reads the metric from the index and checks the stored norms, once and again for rows that
    are added later.

    FAISS knows rows, not nodes: filters and the modality of a mixed store are applied to the catalog's nodes,
    once per row, and reach FAISS as a selection of rows, so that they hold before the search and not after it.

    Each search begins with a check that what was seen still holds. Vectors are sampled (``IndexStamp``). Where rows
    are selected, every node is compared with the one that was there, by identity, since a sample would miss the one
    node of which the metadata have changed: 0.05 ms at 20,000 nodes in a list, some 0.3 ms in a dict or a docstore.
    Metadata that are edited in place are not seen, nor is a changed node of a docstore in a database or of a mapping
    of the caller's own: open the retriever anew then.
    """

    def __init__(self, store: Any, request: StoreRequest) -> None:
        """Set up the source.

        Args:
            store: a FaissVectorStore; it may grow later.
            request: what to search in it.

        Raises:
            InvalidInputError: if there is no catalog to take nodes from.
        """
        self._store = store
        self._index: Any = store.client
        self._request = request
        self._catalog: NodeCatalog = request.needed_catalog(store)
        self._selects = request.mixed or request.filters is not None
        self._known: _Known | None = None

    @property
    def concurrent(self) -> bool:
        """Whether helping threads may search it: the vectors always allow it, the catalog if it lies in memory."""
        return self._catalog.in_memory

    @property
    def provenance(self) -> Provenance:
        """The index's dimension; its numbers become true cosines, unless a score kind was named."""
        return Provenance(dimension=int(self._index.d), score_kind=kind_name(self._request.score_kind or "cosine"))

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Search one or many questions."""
        rows = question_rows(questions, self._request.modality, int(self._index.d))
        return [self._candidates(best, cosines) for best, cosines in self._current().top(rows, k)]

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the index's own numbers beside its vectors, for the self-check; ids are the store's."""
        rows = question_rows(questions, self._request.modality, int(self._index.d))
        return self._current().probe(rows, k, self._store_ids)

    @property
    def needs_check(self) -> bool:
        """Whether a score kind was named; if not, metric and norms of the index are looked at anyway."""
        return self._request.score_kind is not None

    @property
    def lossy_vectors(self) -> bool:
        """Whether the index compresses vectors, so that those it gives are decoded."""
        return self._current().lossy

    def scan(self, size: int = PAGE) -> Iterator[Page]:
        """Yield node ids and vectors of all rows that are searched, ``size`` at a time; raises as ``stored_rows``."""
        step, current = check_size(size), self._current()
        for rows in row_pages(current, step):
            yield self._catalog.resolve(self._store_ids(rows.tolist()))[0], current.stored(rows)

    def vectors_of(self, ids: Sequence[str]) -> Vector:
        """Give the vectors (n, d) of nodes; raises as ``scan`` and ``picked``."""
        return picked(self.scan(), ids, f"the {type(self._store).__name__}")

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of hits."""
        return nodes_of(hits, self._catalog)

    def _candidates(self, rows: Rows, cosines: Any) -> Candidates:
        ids, nodes = self._catalog.resolve(self._store_ids(rows.tolist()))
        return Candidates(ids, cosines, nodes)

    def _store_ids(self, rows: Sequence[int]) -> list[str]:
        """Give the ids by which the catalog knows rows: FaissVectorStore names its rows by their numbers."""
        return [str(row) for row in rows]

    def _current(self) -> FaissCosines:
        """Look at the index, or at the rows that were added since."""
        self._look()
        known, index, total = self._known, self._index, int(self._index.ntotal)
        now = self._catalog.content() if self._selects else None
        same = known is not None and known.cosines.holds(index) and begins_with(now, known.grounds)
        if known is not None and same and known.cosines.count == total:
            return known.cosines
        # Copied before rows are selected: what changes meanwhile is seen by the next search.
        grounds = None if now is None else now[:]
        old = known.cosines if known is not None and same else None
        rows = None
        if self._selects:
            before = np.empty(0, np.int64) if old is None or old.rows is None else old.rows
            rows = np.concatenate([before, self._matching(0 if old is None else old.count, total)])
        current = None if old is None else old.grown(rows)
        current = current or FaissCosines(index, rows, self._request.score_kind)
        self._known = _Known(current, grounds)
        return current

    def _look(self) -> None:
        """Take the index that the store has now."""
        self._index = self._store.client

    def _matching(self, start: int, stop: int) -> Rows:
        """Find the rows whose nodes pass the filters and have the searched modality."""
        request = self._request
        rows = range(start, stop)
        node_ids, held = self._catalog.resolve(self._store_ids(rows))
        nodes = held if held is not None else self._catalog.fetch(node_ids)
        metadata = {node.node_id: node.metadata for node in nodes}
        passes = build_metadata_filter_fn(lambda node_id: metadata[node_id], request.filters)
        chosen = [
            row
            for row, node in zip(rows, nodes, strict=True)
            if passes(node.node_id)
            and (not request.mixed or modality_of(node, request.modality_key) == request.modality)
        ]
        return np.array(chosen, dtype=np.int64)


class FaissMapSource(FaissSource):
    """Searches the index under the id map of a FaissMapVectorStore, whose ids are node ids.

    The store numbers a new row by how many there are, so that after a deletion it gives a number away twice, and the
    deleted node's neighbor is lost; that is noticed and refused, since wrong nodes would be named.
    """

    def __init__(self, store: Any, request: StoreRequest) -> None:
        super().__init__(store, request)
        self._mapped: Any = None
        self._numbers: Any = np.empty(0, np.int64)
        self._last = LastItems({})
        self._look()

    def _look(self) -> None:
        faiss = require("faiss", "faiss")
        mapped = self._store.client
        if mapped is not self._mapped:
            self._index, self._mapped, self._known = faiss.downcast_index(mapped.index), mapped, None
        numbers = faiss.vector_to_array(mapped.id_map)
        names = self._store._faiss_id_to_node_id_map
        same = self._last.hold(names) and np.array_equal(numbers[: len(self._numbers)], self._numbers)
        if not same:
            self._known = None
        if len(numbers) != len(names):
            raise SourceError(_LOST.format(rows=len(numbers), names=len(names)))
        if not same or len(numbers) != len(self._numbers):
            self._numbers, self._last = numbers, LastItems(names)

    def _store_ids(self, rows: Sequence[int]) -> list[str]:
        names, numbers = self._store._faiss_id_to_node_id_map, self._numbers
        # Read from JSON by older versions, the keys are strings.
        found = [names.get(number, names.get(str(number))) for number in numbers[list(rows)].tolist()]
        if None in found:
            raise SourceError(_LOST.format(rows=len(numbers), names=len(names)))
        return found


_LOST = (
    "this FaissMapVectorStore has {rows} vectors but names {names} nodes: it gives the number of a deleted row away "
    "again, and rows are lost; build it anew from its nodes"
)
