"""From the features of batches, in any order, to the vectors of all items and a record of those left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import EncoderError, ImageError, InputRefusedError
from commonscale.encoders.base import EncodedBatch, ItemFailure, Vectors
from commonscale.encoders.vectors import unit_rows, usable_rows


@dataclass(frozen=True)
class Work:
    """How the items of one call are embedded.

    Attributes:
        what: ``"text"`` or ``"image"``.
        prepare: from the indices of items to a prepared batch.
        embed: from a prepared batch to its raw features, shape (n, dimension).
        describe: from the index of an item to a short name of it.
    """

    what: str
    prepare: Callable[[list[int]], Any]
    embed: Callable[[Any], NDArray[Any]]
    describe: Callable[[int], str]


@dataclass
class Collector:
    """Embeds batches and gathers what comes of them; several threads may do so at once.

    Attributes:
        work: how items are embedded.
        strict: raise for the first item that cannot be embedded, rather than leave it out.
    """

    work: Work
    strict: bool
    _parts: list[tuple[list[int], Vectors]] = field(default_factory=list)
    _failures: list[ItemFailure] = field(default_factory=list)

    def leave_out(self, index: int, error: Exception) -> None:
        """Record an item that cannot be embedded, or raise if nothing may be left out."""
        name = self.work.describe(index)
        if not self.strict:
            self._failures.append(ItemFailure(index, name, str(error), error))
        elif isinstance(error, ImageError):
            raise ImageError(f"Image {index}, {name}: {error}") from error
        else:
            raise error

    def embed(self, rows: list[int], prepared: Any) -> int:
        """Embed one batch.

        Args:
            rows: indices of its items.
            prepared: what ``work.prepare`` made of them.

        Returns:
            The number of its items.

        Raises:
            InputRefusedError: if strict and the service refuses an item.
            EncoderError: if vectors cannot be used: strict, or all of a batch of several; the model is broken then.
        """
        try:
            features = np.asarray(self.work.embed(prepared))
        except InputRefusedError as error:
            if self.strict:
                raise
            self._split(rows, error)
            return len(rows)
        if features.ndim != 2 or len(features) != len(rows):
            raise EncoderError(
                f"The model gave features of shape {features.shape} for a batch of {len(rows)} {self.work.what}s; "
                "one row for each is needed"
            )
        good = usable_rows(features)
        if self.strict or not (good.any() or len(rows) == 1):
            good[:] = True  # unit_rows raises for the first bad one
        for row in np.flatnonzero(~good):
            self.leave_out(rows[row], EncoderError("the model gave it a vector of norm zero, or with NaN or infinity"))
        kept = [index for index, fine in zip(rows, good, strict=True) if fine]
        self._parts.append((kept, unit_rows(features[good], self.work.what)))
        return len(rows)

    def _split(self, rows: list[int], error: InputRefusedError) -> None:
        """Halve a refused batch until the refused items are alone; all others are embedded."""
        if len(rows) == 1:
            self.leave_out(rows[0], error)
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            self.embed(half, self.work.prepare(half))

    def result(self, dimension: Callable[[], int]) -> EncodedBatch:
        """Put everything into the order of the input.

        Args:
            dimension: tells the length of a vector; asked only if there is none to look at.
        """
        kept = sorted(index for rows, _ in self._parts for index in rows)
        place = {index: row for row, index in enumerate(kept)}
        width = next((vectors.shape[1] for rows, vectors in self._parts if rows), None)
        everything = np.empty((len(kept), dimension() if width is None else width), dtype=np.float32)
        for rows, vectors in self._parts:
            everything[[place[index] for index in rows]] = vectors
        failures = sorted(self._failures, key=lambda failure: failure.index)
        return EncodedBatch(everything, tuple(kept), tuple(failures))
