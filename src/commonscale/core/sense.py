"""Telling scores of which less is better from hits that are merely not in the order of their scores."""

from __future__ import annotations

import math
import threading

import numpy as np

from commonscale.core.errors import SourceError
from commonscale.core.types import Floats

_HITS = 3
_ANSWERS = 3
_CHANCE = 1e-6


class Sense:
    """Watches the scores of one retriever, answer by answer, in the order in which its hits come.

    Distances rise in every answer. Hits in another order (by place in the text, merged, rearranged) have rising scores
    now and then: n of them by chance once in n! answers. So what counts is how unlikely it is that the answers to
    several different questions all rise, and one answer that does not ends the watch. Threads may share it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled = False
        self._rising: dict[str, float] = {}

    def watch(self, question: str, scores: Floats) -> None:
        """Take one answer into account.

        Args:
            question: its wording; the same question counts once.
            scores: the scores (n,) in the order of the hits.

        Raises:
            SourceError: if the scores of at least three answers have risen, none has fallen, and that is by chance
                less likely than one in a million.
        """
        if self._settled or len(scores) < 2:
            return
        steps = np.diff(scores)
        with self._lock:
            if (steps < 0).any():
                self._settled = True
                self._rising.clear()
                return
            if len(scores) >= _HITS and (steps > 0).all():
                logarithm = math.lgamma(len(scores) + 1)
                self._rising[question] = max(logarithm, self._rising.get(question, 0.0))
            answers, chance = len(self._rising), math.exp(-sum(self._rising.values()))
        if answers >= _ANSWERS and chance < _CHANCE:
            raise SourceError(
                f"the hits of {answers} different questions all came with rising scores "
                f"({scores[:5].tolist()} ...), so less seems to be better: name what they are with score_kind= if they "
                f"are distances, or turn them round with score=lambda hit: -...; if the best hit comes last, say so "
                f"with treatment='raw'"
            )
