"""BM25 indexes of the packages bm25s and rank-bm25, asked directly: all documents that share a word with a question.

A document without any of the question's words is no hit, whatever number it gets: it is not known to be worse or
better than any other. (The packages' own searches fill up with such documents, in no particular order.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from commonscale.core.types import Floats

Rows = npt.NDArray[np.intp]


class Matches(NamedTuple):
    """The documents that share a word with a question.

    Attributes:
        rows: their rows (n,), rising.
        scores: their scores (n,).
        words: how many words the question has, known or not, repeated ones each time.
    """

    rows: Rows
    scores: Floats
    words: int


class WordIndex(Protocol):
    """An index of words."""

    @property
    def engine(self) -> str:
        """Name what computes the scores."""
        ...

    def match(self, text: str) -> Matches:
        """Score the documents that share a word with a question."""
        ...


class Bm25sIndex:
    """An index of the package bm25s."""

    def __init__(
        self, bm25: Any, tokenize: Callable[[str], Sequence[str]], weights: Sequence[float] | None = None
    ) -> None:
        """Wrap an index.

        Args:
            bm25: a ``bm25s.BM25`` that has indexed its documents.
            tokenize: splits a question into words as the documents were split.
            weights: what each document's score is multiplied with; one with 0 is never found.
        """
        self._bm25 = bm25
        self._tokenize = tokenize
        self._weights = None if weights is None else np.asarray(weights)

    @property
    def engine(self) -> str:
        """The package and the variant of BM25."""
        return f"bm25s-{self._bm25.method}"

    def match(self, text: str) -> Matches:
        """Score the documents that share a word with a question."""
        words = list(self._tokenize(text))
        known = self._bm25.get_tokens_ids(words)
        if not known:
            return Matches(np.empty(0, np.intp), np.empty(0), len(words))
        columns, rows_of = self._bm25.scores["indptr"], self._bm25.scores["indices"]
        found = np.zeros(int(self._bm25.scores["num_docs"]), dtype=bool)
        for word in set(known):
            found[rows_of[columns[word] : columns[word + 1]]] = True
        if self._weights is not None:
            found &= self._weights > 0
        rows = np.flatnonzero(found)
        scores = self._bm25.get_scores_from_ids(known, weight_mask=self._weights)
        return Matches(rows, np.asarray(scores, dtype=np.float64)[rows], len(words))


class RankBm25Index:
    """An index of the package rank-bm25: BM25Okapi, BM25L or BM25Plus.

    The package goes through all documents for every word of every question. Here each word that is asked for is scored
    once, by the package, in the documents that hold it, and kept.
    """

    def __init__(self, vectorizer: Any, tokenize: Callable[[str], Sequence[str]]) -> None:
        """Wrap an index.

        Args:
            vectorizer: the index.
            tokenize: splits a question into words as the documents were split.
        """
        self._vectorizer = vectorizer
        self._tokenize = tokenize
        self._documents = len(vectorizer.doc_freqs)
        self._holders: dict[str, list[int]] = {}
        for row, counts in enumerate(vectorizer.doc_freqs):
            for word in counts:
                self._holders.setdefault(word, []).append(row)
        self._kept: dict[str, tuple[Rows, Floats, float]] = {}

    @property
    def engine(self) -> str:
        """The variant of BM25."""
        return type(self._vectorizer).__name__

    def match(self, text: str) -> Matches:
        """Score the documents that share a word with a question."""
        words = list(self._tokenize(text))
        scores = np.zeros(self._documents)
        found = np.zeros(self._documents, dtype=bool)
        for word in words:
            if word in self._holders:
                rows, above, elsewhere = self._scored(word)
                scores += elsewhere
                scores[rows] += above
                found[rows] = True
        rows = np.flatnonzero(found)
        return Matches(rows, scores[rows], len(words))

    def _scored(self, word: str) -> tuple[Rows, Floats, float]:
        """Give the rows that hold a word, what it adds there, beyond what it adds elsewhere, and that."""
        kept = self._kept.get(word)
        if kept is None:
            holders = self._holders[word]
            here = np.asarray(self._vectorizer.get_batch_scores([word], holders), dtype=np.float64)
            # Only BM25Plus gives something for a word that is not there: the same to every document.
            outside = next((row for row, holder in enumerate([*holders, -1]) if row != holder), 0)
            some = outside < self._documents
            elsewhere = float(self._vectorizer.get_batch_scores([word], [outside])[0]) if some else 0.0
            self._kept[word] = kept = (np.asarray(holders, dtype=np.intp), here - elsewhere, elsewhere)
        return kept
