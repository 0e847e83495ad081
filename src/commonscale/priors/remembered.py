"""Answers of a language model, remembered by a hash of the question."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any


class Remembered:
    """A bounded store of shares by question; safe to use from several threads.

    Attributes:
        size: most questions kept; those not asked for longest are dropped.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[str, list[float]] = OrderedDict()
        self._turn = threading.Lock()

    def known(self, texts: Sequence[str]) -> dict[str, list[float] | None]:
        """Give what is remembered of each different question, None where nothing is."""
        found: dict[str, list[float] | None] = {}
        with self._turn:
            for text in dict.fromkeys(texts):
                key = _key(text)
                found[text] = self._kept.get(key)
                if key in self._kept:
                    self._kept.move_to_end(key)
        return found

    def remember(self, text: str, shares: list[float]) -> None:
        """Keep the shares of a question."""
        with self._turn:
            self._kept[_key(text)] = shares
            self._kept.move_to_end(_key(text))
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)

    def dump(self) -> dict[str, list[float]]:
        """Give everything by hash, longest unused first."""
        with self._turn:
            return dict(self._kept)

    def restore(self, answers: Mapping[str, Any], modalities: int) -> None:
        """Take in what ``dump`` gave.

        Raises:
            ValueError: if an entry is not shares of so many modalities.
        """
        for key, shares in answers.items():
            numbers = isinstance(shares, list) and all(isinstance(s, (int, float)) and s >= 0 for s in shares)
            if not numbers or len(shares) != modalities or not math.isclose(sum(shares), 1.0, rel_tol=1e-6):
                raise ValueError(f"the answer {key!r} is {shares!r}, not {modalities} shares that sum to 1")
        with self._turn:
            self._kept.update({key: [float(share) for share in shares] for key, shares in answers.items()})


def _key(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
