"""Searching a FAISS index, or some of its rows, without ever finding too few."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.extras import require
from commonscale.core.types import Vector

Rows = npt.NDArray[np.int64]


class NativeSearch:
    """Calls an index's own search, with parameters of the call: nothing of the index is changed.

    An inverted file looks at ``nprobe`` of its cells and a graph at about ``efSearch`` of its nodes. If fewer hits
    come back than there are, which a modality far from the question or a filter makes likely, the questions
    concerned are asked again with twice as much, until enough are found or everything was looked at.
    """

    def __init__(self, index: Any, selector: Any) -> None:
        """Set up the search.

        Args:
            index: a ``faiss.Index``.
            selector: a ``faiss.IDSelector`` of the rows to search; None for all.
        """
        self._index = index
        self._selector = selector

    def search(self, questions: Vector, k: int) -> tuple[npt.NDArray[np.float32], Rows]:
        """Search.

        Args:
            questions: shape (q, d), float32, contiguous.
            k: how many, at most as many as there are rows to find.

        Returns:
            Scores and rows, both (q, k), as the index gives them; row -1 where nothing was found.
        """
        effort, most = self._effort()
        scores, rows = self._index.search(questions, k, params=self._parameters(effort))
        while effort < most and len(short := np.flatnonzero((rows < 0).any(axis=1))):
            effort = min(2 * effort, most)
            scores[short], rows[short] = self._index.search(questions[short], k, params=self._parameters(effort))
        return scores, rows

    def _effort(self) -> tuple[int, int]:
        """Give what the index spends on a question, and the most that it could."""
        faiss = require("faiss", "faiss")
        if isinstance(self._index, faiss.IndexIVF):
            return int(self._index.nprobe), int(self._index.nlist)
        if isinstance(self._index, faiss.IndexHNSW):
            return int(self._index.hnsw.efSearch), int(self._index.ntotal)
        return 1, 1

    def _parameters(self, effort: int) -> Any:
        # Each type refuses the parameters of the others; a search without its own would fall back to defaults.
        faiss = require("faiss", "faiss")
        given = {} if self._selector is None else {"sel": self._selector}
        if isinstance(self._index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(nprobe=effort, **given)
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=effort, **given)
        return faiss.SearchParameters(**given) if given else None


def looks_at_a_part(index: Any) -> bool:
    """Tell whether a search of this index does not look at every row."""
    faiss = require("faiss", "faiss")
    return isinstance(index, (faiss.IndexIVF, faiss.IndexHNSW))


def restricted(index: Any, rows: Rows | None) -> NativeSearch | None:
    """Make a search over some rows of an index.

    Args:
        index: a ``faiss.Index``.
        rows: the rows, at least one; None for all.

    Returns:
        The search; None if this type of index cannot be restricted.
    """
    if rows is None:
        return NativeSearch(index, None)
    faiss = require("faiss", "faiss")
    kinds = (faiss.IndexIVF, faiss.IndexHNSW, faiss.IndexFlat, faiss.IndexScalarQuantizer)
    if not isinstance(index, kinds):
        return None
    return NativeSearch(index, faiss.IDSelectorBatch(np.ascontiguousarray(rows, dtype=np.int64)))
