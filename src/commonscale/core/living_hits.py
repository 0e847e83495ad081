"""Each banked question's best hit in one modality, while documents come and go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats

SAME = 5e-7
"""Similarities that differ by less are the same one, computed in two ways: float32 holds a cosine to about 1e-7, and
a source may multiply in another order."""


class LivingHits:
    """Best hits that are updated, not searched: only a question whose best hit is gone has to be searched again.

    Attributes:
        ids: the best hit's id per question, None where there is none.
        values: its similarity (C,), -inf where there is none.
        lost: the questions whose best hit is gone or has become worse, and those that have not been searched yet.
    """

    def __init__(self, count: int) -> None:
        """Begin with ``count`` questions that are still to be searched."""
        self.ids: list[str | None] = [None] * count
        self.values: Floats = np.full(count, -np.inf)
        self.lost = set(range(count))
        self._held: defaultdict[str, set[int]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def found(self) -> Floats:
        """The similarities (C,), NaN where there is none."""
        return np.where(np.isneginf(self.values), np.nan, self.values)

    def take(self, ids: Sequence[str], similarities: npt.NDArray[np.floating[Any]]) -> None:
        """Take in documents that were added or replaced.

        Args:
            ids: their ids (n), different from each other.
            similarities: theirs with the banked questions (n, C).
        """
        if not ids:
            return
        for row, key in enumerate(ids):
            for slot in tuple(self._held.get(key, ())):
                if similarities[row, slot] < self.values[slot] - SAME:
                    self._lose(slot)
        rows = similarities.argmax(axis=0)
        highest = similarities[rows, np.arange(len(rows))]
        for slot in np.flatnonzero(highest > self.values).tolist():
            self.set(slot, ids[rows[slot]], float(highest[slot]))

    def drop(self, ids: Iterable[str]) -> None:
        """Mark the questions whose best hit is among documents that are gone."""
        for key in ids:
            for slot in tuple(self._held.get(key, ())):
                self._lose(slot)

    def set(self, slot: int, key: str | None, value: float) -> None:
        """Set a question's best hit; None for none, with a value of -inf."""
        self._leave(slot)
        self.ids[slot], self.values[slot] = key, value
        if key is not None:
            self._held[key].add(slot)

    def settle(self, slots: Collection[int]) -> None:
        """Say that the best hits of some questions are known."""
        self.lost.difference_update(slots)

    def renew(self, slots: Collection[int], count: int) -> None:
        """Make place for other questions in some slots.

        Args:
            slots: slots whose questions are new.
            count: how many questions there are now: as many as before, or more.
        """
        more = count - len(self)
        self.ids += [None] * more
        self.values = np.concatenate([self.values, np.full(more, -np.inf)])
        for slot in slots:
            self._lose(slot)

    def state(self) -> dict[str, Any]:
        """Give everything, as arrays and values that JSON can hold."""
        return {"ids": list(self.ids), "values": self.values, "lost": sorted(self.lost)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> LivingHits:
        """Make the hits whose ``state`` this is.

        Raises:
            InvalidInputError: if it does not have one value for each id.
        """
        if np.shape(state["values"]) != (len(state["ids"]),):
            raise InvalidInputError(f"{len(state['ids'])} best hits have values of shape {np.shape(state['values'])}")
        made = cls(len(state["ids"]))
        for slot, (key, value) in enumerate(zip(state["ids"], state["values"].tolist(), strict=True)):
            made.set(slot, key, value)
        made.lost = set(state["lost"])
        return made

    def _lose(self, slot: int) -> None:
        self.set(slot, None, -np.inf)
        self.lost.add(slot)

    def _leave(self, slot: int) -> None:
        key = self.ids[slot]
        if key is not None:
            self._held[key].discard(slot)
            if not self._held[key]:
                del self._held[key]
