"""Correcting hubs (documents that are close to every question) within each modality, then standardizing.

These change the order within a modality, so they score all documents, in blocks of bounded memory. Hubs are told by the
banked questions, against the documents of one modality at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import BLOCK, best_places
from commonscale.core.statistics import ModalityStatistics
from commonscale.core.types import Floats, Modality, Ranking, Vector
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.methods.merging import Scored, merge

NEIGHBORS = 10
"""Neighbors that CSLS averages (Conneau et al. 2018)."""

BETA = 20.0
"""Inverse temperature of the inverted softmax (Bogolin et al. 2022)."""


class HubCorrection(Protocol):
    """What a method does to the cosines of some questions with all documents of one modality."""

    def scores(self, cosines: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
        """Correct cosines.

        Args:
            cosines: shape (Q, N).

        Returns:
            Scores (Q, N); and for each question the scale (Q,) that its scores are on: 0, 1, ...
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Csls:
    """Cross-domain similarity local scaling: ``2 s - r(q) - r(d)`` (Conneau et al., ICLR 2018, Eq. 2-3).

    ``r(q)`` is the mean of the question's 10 highest cosines with documents of the modality, ``r(d)`` the mean of the
    document's 10 highest cosines with banked questions; of all, where there are fewer.

    Attributes:
        density: r(d) of every document (N,).
    """

    density: Floats

    @classmethod
    def fit(cls, bank: Vector, vectors: Vector) -> Csls:
        """Compute r(d) from the banked questions (C, d) and the documents (N, d) of a modality."""
        return cls(np.concatenate([_mean_of_best(block.T) for block in _by_documents(bank, vectors)]))

    def scores(self, cosines: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
        """See ``HubCorrection``; all questions are on one scale."""
        corrected = 2.0 * cosines - _mean_of_best(cosines)[:, None] - self.density
        return corrected, np.zeros(len(cosines), dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class QueryBankNormalization:
    """Query-bank normalization with the dynamic inverted softmax (Bogolin et al., CVPR 2022).

    A question whose best document is a hub (the best of some banked question) gets ``exp(20 s) / sum over the bank
    of exp(20 s(b, d))``, here its logarithm divided by 20, ``s - log(sum) / 20``; any other keeps ``s``. These are
    two scales: 0 for plain cosines, 1 for normalized ones.

    Attributes:
        normalizer: ``log(sum) / 20`` of every document (N,).
        hubs: whether a document is the best one of a banked question (N,).
    """

    normalizer: Floats
    hubs: npt.NDArray[np.bool_]

    @classmethod
    def fit(cls, bank: Vector, vectors: Vector) -> QueryBankNormalization:
        """Compute both from the banked questions (C, d) and the documents (N, d) of a modality."""
        # No cosine leaves [-1, 1], so that exp(20 s) neither overflows nor vanishes.
        sums = [np.exp(BETA * block).sum(axis=0) for block in _by_documents(bank, vectors)]
        hubs = np.zeros(len(vectors), dtype=np.bool_)
        for _, block in _by_questions(bank, vectors):
            hubs[block.argmax(axis=1)] = True
        return cls(np.log(np.concatenate(sums)) / BETA, hubs)

    def scores(self, cosines: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
        """See ``HubCorrection``."""
        switched = self.hubs[cosines.argmax(axis=1)]
        return cosines - np.where(switched[:, None], self.normalizer, 0.0), switched.astype(np.intp)


def csls(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Correct hubs by CSLS, then standardize.

    The statistics (Eq. 3-4) are those of each banked question's best CSLS score in the modality. A banked question
    counts among the neighbors of its own documents.
    """
    found = {}
    for modality, vectors in _filled(benchmark).items():
        correction = Csls.fit(benchmark.calibration_questions, vectors)
        statistics = ModalityStatistics.fit(_best_scores(correction, benchmark.calibration_questions, vectors))
        found[modality] = _scored(benchmark, vectors, correction, [statistics], depth)
    return merge(benchmark.sources, found, depth)


def qbnorm(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Correct hubs by query-bank normalization, then standardize either scale by its own statistics.

    The switch may be thrown in one modality and not in the other, so raw outputs cannot be merged. The best document
    of a banked question is a hub by definition: the bank is always switched, and its best normalized scores standardize
    switched questions; its best cosines (Eq. 3-4) standardize the others.
    """
    found = {}
    for modality, vectors in _filled(benchmark).items():
        correction = QueryBankNormalization.fit(benchmark.calibration_questions, vectors)
        _, best = benchmark.sources[modality].nearest(benchmark.bank, 1)
        normalized = _best_scores(correction, benchmark.calibration_questions, vectors)
        scales = [ModalityStatistics.fit(best[:, 0]), ModalityStatistics.fit(normalized)]
        found[modality] = _scored(benchmark, vectors, correction, scales, depth)
    return merge(benchmark.sources, found, depth)


def _filled(benchmark: Benchmark) -> Mapping[Modality, Vector]:
    return {modality: vectors for modality, vectors in benchmark.documents.items() if len(vectors)}


def _scored(
    benchmark: Benchmark,
    vectors: Vector,
    correction: HubCorrection,
    scales: list[ModalityStatistics],
    depth: int,
) -> Scored:
    """Find every question's best documents by their corrected scores, standardized."""
    count, questions = min(depth, len(vectors)), benchmark.questions
    rows = np.empty((len(questions), count), dtype=np.intp)
    raw, scores = np.empty(rows.shape), np.empty(rows.shape)
    mean, scale = (np.array([getattr(s, name) for s in scales]) for name in ("mean", "scale"))
    for start, cosines in _by_questions(questions, vectors):
        corrected, which = correction.scores(cosines)
        stop = start + len(cosines)
        rows[start:stop] = best = np.stack([best_places(line, count) for line in corrected])
        raw[start:stop] = np.take_along_axis(cosines, best, axis=1)
        values = np.take_along_axis(corrected, best, axis=1)
        scores[start:stop] = (values - mean[which][:, None]) / scale[which][:, None]
    return Scored(rows, raw, scores)


def _best_scores(correction: HubCorrection, questions: Vector, vectors: Vector) -> Floats:
    return np.concatenate([correction.scores(c)[0].max(axis=1) for _, c in _by_questions(questions, vectors)])


def _by_questions(questions: Vector, vectors: Vector) -> Iterator[tuple[int, Floats]]:
    """Yield the cosines of some questions with all documents, and the number of the first of these questions."""
    step = max(1, BLOCK // len(vectors))
    for start in range(0, len(questions), step):
        block = questions[start : start + step] @ vectors.T
        yield start, np.clip(block.astype(np.float64), -1.0, 1.0)


def _by_documents(questions: Vector, vectors: Vector) -> Iterator[Floats]:
    """Yield the cosines of all questions with some documents."""
    step = max(1, BLOCK // len(questions))
    for start in range(0, len(vectors), step):
        block = questions @ vectors[start : start + step].T
        yield np.clip(block.astype(np.float64), -1.0, 1.0)


def _mean_of_best(lines: Floats) -> Floats:
    """Average the 10 highest values of every line (n, m); of all, where there are fewer."""
    count = min(NEIGHBORS, lines.shape[1])
    best = np.partition(lines, lines.shape[1] - count, axis=1)[:, lines.shape[1] - count :]
    means: Floats = best.mean(axis=1)
    return means
