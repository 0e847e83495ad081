"""From the features of batches, in any order, to the vectors of all items and a record of those left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import EncoderError, ImageError, InputRefusedError
from commonscale.encoders.base import EncodedBatch, ItemFailure, Vectors
from commonscale.encoders.checks import which
from commonscale.encoders.vectors import ADVICE, unit_rows, usable_rows

# Bad vectors and not one good one, after which a model counts as broken before it has gone through everything.
_HOPELESS = 256


@dataclass(frozen=True)
class Work:
    """How the items of one call are embedded.

    Attributes:
        what: ``"text"`` or ``"image"``.
        count: how many items there are.
        prepare: from the indices of items to a prepared batch.
        embed: from a prepared batch to its raw features, shape (n, dimension).
        describe: from the index of an item to a short name of it.
    """

    what: str
    count: int
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
    _bad: list[int] = field(default_factory=list)

    def leave_out(self, index: int, error: Exception) -> None:
        """Record an item that cannot be embedded, or raise if nothing may be left out."""
        name = self.work.describe(index)
        if not self.strict:
            self._failures.append(ItemFailure(index, name, str(error), error))
        elif isinstance(error, (ImageError, EncoderError)):
            named = which(self.work.what, index, self.work.count, name)
            raise type(error)(f"{named}: {error}") from error
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
            EncoderError: if vectors cannot be used: strict, or there are many of them and no good one, or they are not
                of one length; the model is broken then.
        """
        try:
            features = np.asarray(self.work.embed(prepared))
        except InputRefusedError as error:
            self._split(rows, error)
            return len(rows)
        if features.ndim != 2 or len(features) != len(rows):
            raise EncoderError(
                f"The model gave features of shape {features.shape} for a batch of {len(rows)} {self.work.what}s; "
                "one row for each is needed"
            )
        good = usable_rows(features)
        kept = [index for index, fine in zip(rows, good, strict=True) if fine]
        self._parts.append((kept, unit_rows(features[good], self.work.what)))
        width = self._parts[0][1].shape[1]
        if features.shape[1] != width:
            raise EncoderError(
                f"The model gave vectors of {width} and of {features.shape[1]} numbers in one call; all of one length "
                "are needed"
            )
        bad = sorted(index for index, fine in zip(rows, good, strict=True) if not fine)
        for index in bad:
            reason = "the model gave it a vector of norm zero, or with NaN or infinity"
            self.leave_out(index, EncoderError(f"{reason}. {ADVICE}" if self.strict else reason))
        self._bad += bad
        self._check_hope(_HOPELESS)
        return len(rows)

    def _check_hope(self, most: int) -> None:
        """Raise if there are more bad vectors than these, and no good one."""
        if len(self._bad) > most and not any(kept for kept, _ in self._parts):
            raise EncoderError(
                f"The model gave no {self.work.what} a vector that can be used: those of {len(self._bad)} have norm "
                f"zero, or hold NaN or infinity. {ADVICE}"
            )

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

        Raises:
            EncoderError: if vectors of several items, and so all there are, cannot be used.
        """
        self._check_hope(1)
        kept = sorted(index for rows, _ in self._parts for index in rows)
        place = {index: row for row, index in enumerate(kept)}
        width = self._parts[0][1].shape[1] if self._parts else dimension()
        everything = np.empty((len(kept), width), dtype=np.float32)
        for rows, vectors in self._parts:
            everything[[place[index] for index in rows]] = vectors
        failures = sorted(self._failures, key=lambda failure: failure.index)
        return EncodedBatch(everything, tuple(kept), tuple(failures))
