"""Searching a FAISS index, or some of its rows, without ever finding too few."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.extras import require
from commonscale.core.faiss_layers import layers
from commonscale.core.types import Vector

Rows = npt.NDArray[np.int64]


class NativeSearch:
    """Calls an index's own search, with parameters of the call: nothing of the index is changed.

    An inverted file looks at ``nprobe`` of its cells and a graph at about ``efSearch`` of its nodes. If fewer hits
    come back than there are, which a modality far from the question or a filter makes likely, the questions
    concerned are asked again with twice as much, until enough are found or everything was looked at. So are those
    behind a transformation, a refinement or a map of ids.
    """

    def __init__(self, index: Any, selector: Any) -> None:
        """Set up the search.

        Args:
            index: a ``faiss.Index``.
            selector: a ``faiss.IDSelector`` of the rows to search; None for all.
        """
        self._index = index
        self._selector = selector
        *self._wrappers, self._inner = layers(index)

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
        if isinstance(self._inner, faiss.IndexIVF):
            return int(self._inner.nprobe), int(self._inner.nlist)
        if isinstance(self._inner, faiss.IndexHNSW):
            return int(self._inner.hnsw.efSearch), int(self._inner.ntotal)
        return 1, 1

    def _parameters(self, effort: int) -> Any:
        # Each type refuses the parameters of the others; a search without its own would fall back to defaults.
        faiss = require("faiss", "faiss")
        given = {} if self._selector is None else {"sel": self._selector}
        if isinstance(self._inner, faiss.IndexIVF):
            parameters = faiss.SearchParametersIVF(nprobe=effort, **given)
        elif isinstance(self._inner, faiss.IndexHNSW):
            parameters = faiss.SearchParametersHNSW(efSearch=effort, **given)
        elif given:
            parameters = faiss.SearchParameters(**given)
        else:
            return None
        for wrapper in reversed(self._wrappers):
            if isinstance(wrapper, faiss.IndexPreTransform):
                parameters = faiss.SearchParametersPreTransform(index_params=parameters)
            elif isinstance(wrapper, faiss.IndexRefine):
                parameters = faiss.IndexRefineSearchParameters(k_factor=wrapper.k_factor, base_index_params=parameters)
        return parameters


def looks_at_a_part(index: Any) -> bool:
    """Tell whether a search of this index does not look at every row."""
    faiss = require("faiss", "faiss")
    return isinstance(layers(index)[-1], (faiss.IndexIVF, faiss.IndexHNSW))


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
    inner = layers(index)
    # A map of ids would take row numbers for ids.
    if not isinstance(inner[-1], kinds) or any(isinstance(layer, faiss.IndexIDMap) for layer in inner):
        return None
    return NativeSearch(index, faiss.IDSelectorBatch(np.ascontiguousarray(rows, dtype=np.int64)))
