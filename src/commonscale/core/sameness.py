"""Comparing what is held now with what was held before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any


def begins_with(now: Sequence[object] | None, before: Sequence[object] | None) -> bool:
    """Tell whether a list (tuple) has only grown since.

    Members are compared by identity first: a pass over pointers while nothing has changed.

    Args:
        now: what is held.
        before: a copy of what was held, of the same type; None if it is not known, which only equals itself.
    """
    if now is None or before is None:
        return now is before
    return len(now) >= len(before) and (now if len(now) == len(before) else now[: len(before)]) == before


class LastItems:
    """The last items of a dict whose entries are removed and put in anew, but not assigned to.

    What is put in comes last, so that any change shows at the end, whatever the dict holds.
    """

    COUNT = 16

    def __init__(self, items: dict[Any, Any]) -> None:
        """Look at a dict."""
        self._size = len(items)
        self._last = self._of(items)

    def hold(self, items: dict[Any, Any]) -> bool:
        """Tell whether the dict has only grown since."""
        return len(items) >= self._size and self._of(items) == self._last

    def _of(self, items: dict[Any, Any]) -> list[tuple[Any, Any]]:
        added = len(items) - self._size
        return list(islice(reversed(items.items()), added, added + self.COUNT))
