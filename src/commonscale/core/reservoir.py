"""A sample of fixed size from a stream without end: of all that came, or of what came of late.

Algorithm R (Vitter 1985, "Random Sampling with a Reservoir", ACM TOMS 11(1), section 2, who credits A. Waterman)
keeps every item that came with the same probability. With a half-life, every newcomer enters with the same probability
in place of a random item (Aggarwal 2006, "On Biased Reservoir Sampling in the Presence of Stream Evolution", VLDB,
algorithm 3.1), so that an item of age a is kept with a probability proportional to ``2 ** (-a / half_life)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from commonscale.core.errors import InvalidInputError


class Reservoir:
    """Which slots of a sample newcomers take; the items themselves are kept elsewhere.

    Attributes:
        capacity: how many slots there are.
        half_life: after how many newcomers an item is half as likely to be there still; None for algorithm R.
        size: how many slots are taken: the first so many.
        seen: how many items have been offered in all.
    """

    def __init__(self, capacity: int, *, half_life: float | None = None, seed: int = 0) -> None:
        """Set up an empty reservoir.

        Args:
            capacity: slots, at least 1.
            half_life: in items, at least ``capacity * ln 2``: a sample cannot forget faster than it is refilled when
                every newcomer enters. None keeps all items with the same probability.
            seed: of the draws.

        Raises:
            InvalidInputError: if a setting cannot be used.
        """
        if isinstance(capacity, bool) or not isinstance(capacity, (int, np.integer)) or capacity < 1:
            raise InvalidInputError(f"a reservoir needs an integer capacity of at least 1, got {capacity!r}")
        self.capacity = int(capacity)
        self.half_life = half_life
        self.size = 0
        self.seen = 0
        self._entering = 1.0 if half_life is None else _entering(self.capacity, half_life)
        self._random = np.random.Generator(np.random.PCG64(seed))

    def offer(self, count: int) -> dict[int, int]:
        """Offer the next ``count`` items of the stream.

        Args:
            count: how many, 0 or more.

        Returns:
            For each slot that now holds one of them, which (0 is the first of those offered). An item that entered
            and was replaced within the same call is not named.
        """
        taken: dict[int, int] = {}
        for item in range(count):
            slot = self._slot()
            self.seen += 1
            if slot is not None:
                taken[slot] = item
        return taken

    def _slot(self) -> int | None:
        """Draw the slot of the next item, None if it does not enter."""
        if self.size < self.capacity:
            self.size += 1
            return self.size - 1
        if self.half_life is None:
            slot = int(self._random.integers(self.seen + 1))
            return slot if slot < self.capacity else None
        # The first of a draw is made even where all enter, so that a seed means the same for every half-life.
        enters = self._random.random() < self._entering
        slot = int(self._random.integers(self.capacity))
        return slot if enters else None

    def state(self) -> dict[str, Any]:
        """Give all that the next draws depend on, as values that JSON can hold."""
        return {
            "capacity": self.capacity,
            "half_life": self.half_life,
            "size": self.size,
            "seen": self.seen,
            "random": self._random.bit_generator.state["state"] | _half_words(self._random),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Reservoir:
        """Make the reservoir whose ``state`` this is: it goes on with the same draws.

        Raises:
            InvalidInputError: if a setting cannot be used.
            KeyError: if a field is missing.
            TypeError: if a field is of another type.
            ValueError: if the state of the draws cannot be used.
        """
        made = cls(state["capacity"], half_life=state["half_life"])
        made.size, made.seen = int(state["size"]), int(state["seen"])
        if not 0 <= made.size <= min(made.capacity, made.seen):
            raise InvalidInputError(f"{made.size} slots cannot be taken after {made.seen} of {made.capacity} came")
        random = state["random"]
        made._random.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": random["state"], "inc": random["inc"]},
            "has_uint32": random["has_uint32"],
            "uinteger": random["uinteger"],
        }
        return made


def _half_words(random: np.random.Generator) -> dict[str, int]:
    """Give what is left of a word that was drawn and used by half."""
    state = random.bit_generator.state
    return {"has_uint32": int(state["has_uint32"]), "uinteger": int(state["uinteger"])}


def _entering(capacity: int, half_life: float) -> float:
    """Give the probability with which a newcomer enters a full reservoir.

    An item is replaced by a newcomer with probability ``entering / capacity``, and so is there after ``half_life`` of
    them with probability ``(1 - entering / capacity) ** half_life = 1 / 2``.
    """
    number = isinstance(half_life, (int, float, np.number)) and not isinstance(half_life, bool)
    if not number or not math.isfinite(half_life) or half_life <= 0:
        raise InvalidInputError(f"a half-life is a number of questions above 0, got {half_life!r}")
    entering = -capacity * math.expm1(-math.log(2) / half_life)
    if entering > 1.0:
        shortest = -math.log(2) / math.log1p(-1 / capacity) if capacity > 1 else 1.0
        raise InvalidInputError(
            f"a bank of {capacity} cannot forget with a half-life of {half_life!r} questions: one that takes in every "
            f"question has a half-life of {shortest:.1f}; give a longer half-life or a smaller capacity"
        )
    return entering
