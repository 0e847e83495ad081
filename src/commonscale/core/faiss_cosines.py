"""True cosines from a FAISS index that somebody else made: any metric, any norms, any subset of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from commonscale.core.cosines import Converter, cosines_with, to_cosine
from commonscale.core.dense import nearest, unit_rows
from commonscale.core.extras import require
from commonscale.core.faiss_pages import stored_rows
from commonscale.core.faiss_search import looks_at_a_part, restricted
from commonscale.core.faiss_stamp import IndexStamp
from commonscale.core.faiss_vectors import Rows, block_of, hits_of, metric_kind, norms_within
from commonscale.core.probing import computed_probes, faiss_probes, is_lossy, no_probes
from commonscale.core.types import Floats, Probe, Vector

UNIT_TOLERANCE = 1e-5
"""Norms this close to 1 leave cosines right to 1e-5; half precision (5e-4 off) already needs a normalized copy."""

NEARLY_UNIT = 0.1
"""Norms this close to 1 are what a lossy code makes of unit vectors."""

FEW_ROWS = 10_000
"""So few rows are compared one by one (20 MB at 512 dimensions), whatever the index is."""


class FaissCosines:
    """Searches a FAISS index, or some of its rows, by true cosine.

    A FAISS number is an inner product or a squared distance, whichever ``index.metric_type`` says; both give
    the cosine only if every stored vector has norm 1. So the stored vectors are looked at once: if their norms
    are 1 the index itself is searched; if not, a normalized copy is (numpy, as large as the vectors). A lossy code
    leaves unit vectors nearly of norm 1: then the index is searched, and cosines are computed from the decoded hits.

    An index that only looks at a part of its rows (inverted file, graph) starves what is rare: a search for few rows
    among many is made one by one over a copy of them, and one that found fewer than it should looks further.

    Attributes:
        count: how many rows the index had when it was looked at.
        rows: the rows that are searched, ascending; None for all.
    """

    def __init__(self, index: Any, rows: Rows | None = None, score_kind: str | Converter | None = None) -> None:
        """Look at the index.

        Args:
            index: a ``faiss.Index``.
            rows: search only these; None for all.
            score_kind: take the index's numbers as this kind, without looking at the vectors; for indexes that
                keep no vectors.

        Raises:
            UnknownScoreKindError: if the vectors cannot be read back and no score kind is named.
            InvalidInputError: if a stored vector is null or not finite.
        """
        self.index = index
        self.count = int(index.ntotal)
        self.rows = rows
        self.score_kind = score_kind
        self._native: Any = None
        self._copy: Vector | None = None
        self._decodes = False
        own = np.arange(self.count) if rows is None else rows
        native = (
            len(own) == 0 or score_kind is not None or (metric_kind(self.index) is not None and self._searchable(own))
        )
        if native and rows is not None and len(rows):
            self._native = restricted(index, rows)
            few = looks_at_a_part(index) and len(rows) <= FEW_ROWS and score_kind is None
            native = self._native is not None and not few
        if native and self._native is None:
            self._native = restricted(index, None)
        if not native:
            self._copy = unit_rows(block_of(self.index, own), "stored vector")
        self._stamp = IndexStamp(index, None if self._copy is None else own)

    def holds(self, index: Any) -> bool:
        """Tell whether this is the index that was looked at and still begins with the rows that were seen.

        More rows may have been added (``grown``); see ``IndexStamp`` for what goes unnoticed, and what it costs.
        """
        return self._stamp.holds(index)

    def grown(self, rows: Rows | None) -> FaissCosines | None:
        """Follow an index that only had rows added, without looking at the old ones again.

        Args:
            rows: the rows to search now, beginning with the old ones; None for all.

        Returns:
            The search of the grown index, or None if it must be looked at as a whole.
        """
        if self._copy is not None or self._decodes or (rows is None) != (self.rows is None):
            return None
        if (self.rows is not None and len(self.rows) == 0) or not self.holds(self.index):
            # Whether few rows among many are searched one by one was not asked while there was none.
            return None
        fresh = FaissCosines.__new__(FaissCosines)
        fresh.index, fresh.count, fresh.rows = self.index, int(self.index.ntotal), rows
        fresh.score_kind, fresh._copy, fresh._decodes = self.score_kind, None, False
        added = np.arange(self.count, fresh.count) if rows is None else rows[rows >= self.count]
        if self.score_kind is None and not (
            metric_kind(self.index) is not None and norms_within(self.index, added, UNIT_TOLERANCE)
        ):
            return None
        fresh._native = restricted(self.index, rows if rows is not None and len(rows) else None)
        fresh._stamp = IndexStamp(self.index, None)
        return None if fresh._native is None else fresh

    def top(self, questions: Vector, k: int) -> list[tuple[Rows, Floats]]:
        """Find the rows of highest cosine for each question, all questions in one FAISS call.

        Args:
            questions: unit rows (q, d), float32, contiguous, with d the dimension of the index.
            k: how many, at least 1.

        Returns:
            Per question the rows and their cosines, best first; equal cosines by row.

        Raises:
            ScoreOutOfRangeError: if a score is not of the kind that was named.
        """
        size = self.count if self.rows is None else len(self.rows)
        if size == 0:
            return [(np.empty(0, np.int64), np.empty(0))] * len(questions)
        if self._copy is not None:
            places, cosines = nearest(self._copy, questions, k)
            return list(zip(places if self.rows is None else self.rows[places], cosines, strict=True))
        if self._decodes:
            return self._decoded_top(questions, min(k, size))
        scores, rows = self._native.search(questions, min(k, size))
        kind = self.score_kind or metric_kind(self.index)
        return [_sorted(row_scores, row_ids, kind) for row_scores, row_ids in zip(scores, rows, strict=True)]

    @property
    def lossy(self) -> bool:
        """Whether the index keeps less of its vectors than it was given, so that those it gives are decoded."""
        return is_lossy(self.index)

    def stored(self, rows: Rows) -> Vector:
        """Give the vectors (n, d) of rows that are searched, up to their norms; raises as ``stored_rows``."""
        if self._copy is None:
            return stored_rows(self.index, rows)
        return self._copy[rows if self.rows is None else np.searchsorted(self.rows, rows)]

    def probe(self, questions: Vector, k: int, names: Callable[[Sequence[int]], Sequence[str]]) -> list[Probe]:
        """Search as ``top`` does, and show the index's own numbers beside its vectors.

        Args:
            questions: as for ``top``.
            k: as for ``top``.
            names: gives the ids of rows.
        """
        size = self.count if self.rows is None else len(self.rows)
        if size == 0:
            return no_probes(questions)
        if self._copy is not None:
            rows = np.arange(self.count) if self.rows is None else self.rows
            return computed_probes(self._copy, self._copy, names(rows.tolist()), questions, k)
        scores, rows = self._native.search(questions, min(k, size))
        found = list(zip(scores, rows, strict=True))
        kind = self.score_kind or metric_kind(self.index)
        read = partial(hits_of, self.index)
        return faiss_probes(self.index, found, kind, read, names, converted=not self._decodes)

    def _decoded_top(self, questions: Vector, k: int) -> list[tuple[Rows, Floats]]:
        found = []
        for question, rows in zip(questions, self._native.search(questions, k)[1], strict=True):
            rows = rows[rows >= 0]
            cosines = cosines_with(question, np.stack([self.index.reconstruct(int(row)) for row in rows]))
            order = np.lexsort((rows, -cosines))
            found.append((rows[order], cosines[order]))
        return found

    def _searchable(self, rows: Rows) -> bool:
        """Tell whether the index itself can be searched, and whether its hits must be decoded for their cosines."""
        if norms_within(self.index, rows, UNIT_TOLERANCE):
            return True
        # Decoding one hit at a time takes an index that can; inverted files only if they were asked to beforehand.
        lossy = len(rows) > FEW_ROWS and isinstance(self.index, require("faiss", "faiss").IndexFlatCodes)
        self._decodes = lossy and norms_within(self.index, rows, NEARLY_UNIT)
        return self._decodes


def _sorted(scores: Any, rows: Rows, kind: Any) -> tuple[Rows, Floats]:
    found = rows >= 0
    rows = rows[found]
    cosines = to_cosine(scores[found], kind)
    order = np.lexsort((rows, -cosines))
    return rows[order], cosines[order]
