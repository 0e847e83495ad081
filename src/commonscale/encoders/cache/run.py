"""One call through a cache: look up, embed what is missing chunk by chunk, and keep each chunk at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import CacheWarning, EncoderError, FileFormatError, ImageError
from commonscale.core.warn import warn
from commonscale.encoders.base import EncodedBatch, ItemFailure, Vectors
from commonscale.encoders.cache.errors import TROUBLES
from commonscale.encoders.cache.items import Item
from commonscale.encoders.cache.store import VectorStore
from commonscale.encoders.checks import which
from commonscale.encoders.one_call import WholeCall

Encode = Callable[[list[Any]], EncodedBatch]

# Items that are looked up together, and bytes of downloads and streams that may wait in memory.
_LOOKED_UP = 1000
_HELD = 64_000_000


@dataclass
class Run:
    """One call.

    Attributes:
        store: the cache.
        fingerprint: the encoder's.
        encode: embeds what is missing.
        count: how many items were given.
        chunk_size: how many are embedded and kept together.
        strict: raise for the first item that cannot be embedded, rather than leave it out.
        what: ``"text"`` or ``"image"``.
        describe: gives a short name of an item.
        call: is told of the items that the encoder is not asked for.
    """

    store: VectorStore
    fingerprint: str
    encode: Encode
    count: int
    chunk_size: int
    strict: bool
    what: str
    describe: Callable[[int], str]
    call: WholeCall
    _vectors: Vectors | None = None
    _done: NDArray[np.bool_] = field(init=False)
    _first: dict[bytes, int] = field(default_factory=dict)
    _twins: list[tuple[int, int]] = field(default_factory=list)
    _asked: list[Item] = field(default_factory=list)
    _missing: list[Item] = field(default_factory=list)
    _awaited: list[Item] = field(default_factory=list)
    _unkept: bool = False
    _held: int = 0
    _failures: dict[int, ItemFailure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._done = np.zeros(self.count, dtype=np.bool_)

    def take(self, items: Iterable[Item]) -> None:
        """Bring items in; they are embedded as soon as a chunk of them is missing."""
        for item in items:
            if item.error is not None:
                self.leave_out(item.index, item.error)
                self.call.advance(1)
                continue
            if item.key is not None:
                first = self._first.setdefault(item.key, item.index)
                if first != item.index:
                    self._twins.append((item.index, first))
                    self.call.advance(1)
                    continue
            self._held += item.held
            self._asked.append(item)
            if len(self._asked) >= _LOOKED_UP or self._held > _HELD:
                self._look_up()
                while len(self._missing) >= self.chunk_size or (self._missing and self._held > _HELD):
                    self._embed()
                if self._awaited and self._held > _HELD:
                    self._settle()

    def result(self, dimension: Callable[[], int]) -> EncodedBatch:
        """Embed the rest and give everything in the order of the input.

        Args:
            dimension: tells the length of a vector; asked only if there is none to look at.
        """
        self._look_up()
        self._settle()
        vectors = self._vectors
        if vectors is None:
            vectors = np.empty((self.count, dimension()), dtype=np.float32)
        for index, first in self._twins:
            if self._done[first]:
                vectors[index], self._done[index] = vectors[first], True
            else:
                failure = self._failures[first]
                self._failures[index] = ItemFailure(index, self.describe(index), failure.reason, failure.error)
        kept = np.flatnonzero(self._done)
        failures = tuple(self._failures[index] for index in sorted(self._failures))
        return EncodedBatch(vectors if len(kept) == self.count else vectors[kept], tuple(kept.tolist()), failures)

    def leave_out(self, index: int, error: Exception, reason: str | None = None) -> None:
        """Record an item that cannot be embedded, or raise if nothing may be left out."""
        name = self.describe(index)
        if self.strict:
            if isinstance(error, (ImageError, EncoderError)):
                raise type(error)(f"{which(self.what, index, self.count, name)}: {reason or error}") from error
            raise error
        self._failures[index] = ItemFailure(index, name, reason or str(error), error)

    def _look_up(self) -> None:
        self._missing += self._not_remembered(self._asked)
        self._asked = []

    def _not_remembered(self, items: list[Item]) -> list[Item]:
        """Fill in the vectors that are stored, and give the other items."""
        found = self._found([item.key for item in items if item.key is not None])
        hits = [item for item in items if item.key in found]
        if hits:
            rows = [found[item.key] for item in hits]  # type: ignore[index]
            self._keep_lengths(rows)
            self._fill([item.index for item in hits], np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1))
            self._held -= sum(item.held for item in hits)
            self.call.advance(len(hits))
        return [item for item in items if item.key not in found]

    def _found(self, keys: list[bytes]) -> dict[bytes, bytes]:
        try:
            return self.store.get(keys)
        except TROUBLES as error:
            if not self._unkept:
                raise
            # Raising would lose the vectors of this call that could not be kept before.
            warn(f"the cache could not be asked for {len(keys)} items: {error}", CacheWarning)
            return {}

    def _keep_lengths(self, rows: list[bytes]) -> None:
        """Refuse stored vectors whose length is not the encoder's."""
        known = self._width()
        wrong = next((row for row in rows if len(row) != 4 * (known or 0)), None)
        if wrong is not None:
            raise FileFormatError(
                f"{self.store.path}: holds a vector of {len(wrong) // 4} numbers where those of the encoder "
                f"{self.fingerprint!r} have {known}: the file is damaged, or two encoders have one fingerprint. Give "
                f"each its own fingerprint; move the file away, or give another folder, to compute the vectors again"
            )

    def _settle(self) -> None:
        """Embed what is missing; for what other threads embed now, wait, and embed what they could not keep."""
        while self._missing or self._awaited:
            if not self._missing:
                self._missing, self._awaited = self._awaited, []
                self.store.flights.wait({item.key for item in self._missing if item.key is not None})
            self._embed()

    def _embed(self) -> None:
        chunk, self._missing = self._missing[: self.chunk_size], self._missing[self.chunk_size :]
        mine = self.store.flights.begin(item.key for item in chunk if item.key is not None)
        try:
            self._awaited += [item for item in chunk if item.key is not None and item.key not in mine]
            # Another thread may have stored some since they were looked up.
            chunk = self._not_remembered([item for item in chunk if item.key is None or item.key in mine])
            if chunk:
                self._embed_chunk(chunk)
        finally:
            self.store.flights.end(mine)

    def _embed_chunk(self, chunk: list[Item]) -> None:
        self._held -= sum(item.held for item in chunk)
        width = self._width()  # Asked first: once vectors are there, no trouble with the file may lose them.
        batch = self.encode([item.content for item in chunk])
        if len(batch.kept):
            self._fill([chunk[place].index for place in batch.kept], self._checked(batch, width))
            self._store([chunk[place] for place in batch.kept], batch.vectors)
        # Only now: what was embedded, and perhaps paid for, is kept before the first failure is raised.
        for failure in batch.failures:
            self.leave_out(chunk[failure.index].index, failure.error, failure.reason)

    def _width(self) -> int | None:
        """Length of this encoder's vectors, as far as it is known."""
        return self.store.dimension(self.fingerprint) if self._vectors is None else self._vectors.shape[1]

    def _checked(self, batch: EncodedBatch, known: int | None) -> NDArray[Any]:
        vectors = np.asarray(batch.vectors)
        if vectors.ndim != 2 or len(vectors) != len(batch.kept) or known not in (None, vectors.shape[1]):
            raise EncoderError(
                f"The encoder {self.fingerprint!r} gave an array of shape {vectors.shape} for {len(batch.kept)} "
                f"{self.what}s; ({len(batch.kept)}, {known or 'dimension'}) is needed. If it is not the encoder that "
                f"{self.store.path} was filled with, give it a fingerprint of its own."
            )
        if not np.isfinite(vectors).all():
            raise EncoderError(f"The encoder {self.fingerprint!r} gave a {self.what} vector with NaN or infinity.")
        return vectors

    def _fill(self, indices: list[int], vectors: NDArray[Any]) -> None:
        if self._vectors is None:
            self._vectors = np.empty((self.count, vectors.shape[1]), dtype=np.float32)
        self._vectors[indices] = vectors
        self._done[indices] = True

    def _store(self, items: list[Item], vectors: NDArray[Any]) -> None:
        rows = np.ascontiguousarray(vectors, dtype="<f4")
        new = {item.key: row.tobytes() for item, row in zip(items, rows, strict=True) if item.key and item.unchanged}
        try:
            self.store.put(new, self.fingerprint, rows.shape[1])
        except TROUBLES as error:
            # The vectors are good, and may have been paid for: they must not be lost with the disk's troubles.
            self._unkept = True
            warn(f"{len(new)} new vectors were not kept: {error}", CacheWarning)
