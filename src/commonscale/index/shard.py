"""The vectors of one modality: a flat FAISS index whose row i belongs to the i-th id."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.core.extras import require
from commonscale.core.types import Floats, Vector

NEAR_TIE = 1e-6
"""Rounding of a float32 inner product of unit vectors: cosines closer than this may come in either order."""

_CHUNK = 1 << 22  # numbers held at once while searching, however many questions: 16 MiB of float32

_DEEPER = 8  # times more is fetched for questions that nearly tie at the cut

Rows = npt.NDArray[np.int64]


def _faiss() -> Any:
    return require("faiss", "faiss")


class VectorShard:
    """Exact inner-product search over the unit vectors of one modality.

    Row numbers are FAISS's own: a plain flat index, no id map. A mapped id map would load 16 bytes per vector
    and rebuild a hash table at every start; the order of the ids is known from the documents file anyway.
    Not safe to change while it is searched: ``FaissIndex`` holds the lock.

    Attributes:
        ids: the documents' ids in the order of the rows, which is the order of insertion.
        changed: whether it differs from what is on disk.
    """

    def __init__(self, dimension: int, ids: Sequence[str] = (), flat: Any = None) -> None:
        self.ids = list(ids)
        self.changed = False
        self._rows = {key: row for row, key in enumerate(self.ids)}
        self._flat = _faiss().IndexFlatIP(dimension) if flat is None else flat

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return int(self._flat.d)

    def put(self, ids: Sequence[str], vectors: Vector) -> None:
        """Store unit vectors: an id that is there keeps its row and gets the new vector, others are appended.

        Args:
            ids: different ids.
            vectors: unit rows (n, d), float32.
        """
        known = [at for at, key in enumerate(ids) if key in self._rows]
        fresh = [at for at, key in enumerate(ids) if key not in self._rows]
        if known:
            self._view()[[self._rows[ids[at]] for at in known]] = vectors[known]
        if fresh:
            self._flat.add(np.ascontiguousarray(vectors[fresh]))
            for at in fresh:
                self._rows[ids[at]] = len(self.ids)
                self.ids.append(ids[at])
        self.changed = self.changed or bool(ids)

    def remove(self, ids: Collection[str]) -> None:
        """Remove the ids that are here; the others keep their order."""
        gone = {key for key in ids if key in self._rows}
        if not gone:
            return
        self._flat.remove_ids(np.array(sorted(self._rows[key] for key in gone), dtype=np.int64))
        self.ids = [key for key in self.ids if key not in gone]
        self._rows = {key: row for row, key in enumerate(self.ids)}
        self.changed = True

    def vectors(self, ids: Sequence[str]) -> Vector:
        """Give copies of the stored vectors (n, d) of ids that are here."""
        return self._view()[[self._rows[key] for key in ids]]

    def search(self, questions: Vector, k: int) -> tuple[Rows, Floats]:
        """Find the k best rows for each question in one FAISS call.

        FAISS's float32 sums depend on the number of questions and on where a row lies. So a little more than
        ``k`` is fetched, as far as cosines nearly tie at the cut, and the cosines are computed again in float64:
        one question and a batch give the same ranking, equal vectors tie exactly, and ties go to the earlier row.

        Args:
            questions: unit rows (q, d), float32.
            k: hits per question, at least 1.

        Returns:
            Rows (q, min(k, n)) and their cosines in [-1, 1], best first.
        """
        total = len(self)
        k = min(k, total)
        rows = np.empty((len(questions), k), dtype=np.int64)
        cosines = np.empty((len(questions), k), dtype=np.float64)
        asked = np.arange(len(questions) if k else 0)
        # Copies of a document are few as a rule: fetching a little more settles most near ties.
        for fetch in (min(k + 1, total), min(_DEEPER * (k + 1), total)):
            unclear = [asked[:0]]
            for part in (asked[some] for some in _slices(len(asked), fetch)):
                found, near = self._flat.search(questions[part], fetch)[::-1]
                clear = near[:, k - 1] - near[:, -1] > NEAR_TIE if fetch < total else np.ones(part.size, dtype=bool)
                done = part[clear]
                rows[done], cosines[done] = self._ranked(questions[done], found[clear], k)
                unclear.append(part[~clear])
            asked = np.concatenate(unclear)
        for part in (asked[some] for some in _slices(len(asked), total)):
            for question, line in zip(part, questions[part] @ self._view().T, strict=True):
                contenders = np.flatnonzero(line >= np.partition(line, total - k)[total - k] - NEAR_TIE)[None]
                rows[question], cosines[question] = self._ranked(questions[question, None], contenders, k)
        return rows, cosines

    def _ranked(self, questions: Vector, rows: Rows, k: int) -> tuple[Rows, Floats]:
        """Compute the cosines of fetched rows in float64 and give the best k, ties by row."""
        cosines = np.empty(rows.shape, dtype=np.float64)
        view = self._view()
        for few in _slices(len(rows), rows.shape[1] * self.dimension):
            for some in _slices(rows.shape[1], self.dimension):
                near = view[rows[few, some]]
                cosines[few, some] = np.einsum("qkd,qd->qk", near, questions[few], dtype=np.float64)
        np.clip(cosines, -1.0, 1.0, out=cosines)
        order = np.lexsort((rows, -cosines))[:, :k]
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)

    def _view(self) -> Vector:
        """FAISS's own memory (n, d); valid until the next ``add``."""
        count = self._flat.ntotal
        if count == 0:
            return np.empty((0, self.dimension), dtype=np.float32)
        flat = _faiss().rev_swig_ptr(self._flat.get_xb(), count * self.dimension)
        return cast("Vector", flat.reshape(count, self.dimension))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the FAISS file.

        Raises:
            OSError: if it cannot be written.
        """
        try:
            _faiss().write_index(self._flat, os.fspath(path))
        except RuntimeError as error:
            raise OSError(f"FAISS could not write {os.fspath(path)}: {error}") from error

    @classmethod
    def read(cls, path: str | os.PathLike[str], dimension: int, ids: Sequence[str], *, mmap: bool) -> VectorShard:
        """Read a FAISS file.

        Args:
            path: what ``write`` wrote.
            dimension: the dimension it must have.
            ids: the ids of its rows.
            mmap: map it instead of loading it; such a shard must not be changed (FAISS would abort the process).

        Raises:
            FileFormatError: if it is no flat inner-product index of this dimension with one row per id.
        """
        try:
            flat = _faiss().read_index(os.fspath(path), mmap_flag() if mmap else 0)
        except RuntimeError as error:
            raise FileFormatError(f"{os.fspath(path)}: FAISS cannot read it ({error})") from error
        kind = type(flat).__name__
        if kind != "IndexFlatIP" or flat.d != dimension or flat.ntotal != len(ids):
            raise FileFormatError(
                f"{os.fspath(path)}: holds {kind} with {flat.ntotal} vectors of dimension {flat.d}, expected "
                f"IndexFlatIP with {len(ids)} of dimension {dimension}"
            )
        return cls(dimension, ids, flat)


def _slices(count: int, numbers_each: int) -> Iterator[slice]:
    """Cut ``count`` items into parts that need at most ``_CHUNK`` numbers, or are one item."""
    step = max(1, _CHUNK // max(1, numbers_each))
    return (slice(start, start + step) for start in range(0, count, step))


def mmap_flag() -> int:
    """FAISS's flag for mapping a flat index.

    Of its two flags only ``IO_FLAG_MMAP_IFC`` maps a flat index; ``IO_FLAG_MMAP`` loads it all the same
    (measured with 1.15.1: 300,000 x 256 floats take 0.1 ms and no memory of their own, against 230 ms and 293 MiB).

    Raises:
        InvalidInputError: if the installed FAISS has no such flag (before 1.11).
    """
    flag = getattr(_faiss(), "IO_FLAG_MMAP_IFC", None)
    if flag is None:
        raise InvalidInputError("this faiss-cpu cannot map indexes: open with mmap=False, or install faiss-cpu>=1.11")
    return int(flag)
