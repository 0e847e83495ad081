"""The chance level and what was tried in its place, in dense numpy, for benchmarks/methods.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from chance_draws import Draw

from commonscale import TEXT, Question
from commonscale.core.dense import unit_rows
from commonscale.core.duplicates import count_distinct
from commonscale.core.extras import require
from commonscale.core.padding import padded
from commonscale.core.question_vectors import question_rows
from commonscale.core.types import Floats, Modality, Vector
from commonscale.evaluation.sources import VectorSource


@dataclass(frozen=True, slots=True)
class Seen:
    """One modality, as questions and bank see it.

    Attributes:
        bank: similarities of documents and banked questions (N, C).
        asked: those of the questions (Q, N).
        best: each document's highest ``bank`` similarities, descending (N, at most 32).
        distinct: how many documents differ.
    """

    bank: Vector
    asked: Vector
    best: Vector
    distinct: int

    @classmethod
    def of(cls, bank: Vector, asked: Vector, documents: Vector, *, center: bool = True) -> Seen:
        """Compare with the documents (N, d) of a modality, after removing the gap unless told not to."""
        if center:
            mean = bank.mean(axis=0, dtype=np.float64)
            distinct = count_distinct(documents)
            bank, asked = unit_rows(bank - mean), unit_rows(asked - mean)
            documents = unit_rows(documents - documents.mean(axis=0, dtype=np.float64))
        else:
            distinct = len(documents)
        found = documents @ bank.T
        rest = max(0, len(bank) - 32)
        best = np.partition(found, rest, axis=1)[:, rest:]
        return cls(found, asked @ documents.T, -np.sort(-best, axis=1), distinct)


Variant = Callable[[Seen], Floats]
"""From one modality to the scores (Q, N) of its documents."""


@dataclass(frozen=True, slots=True)
class Chance:
    """Chance-level calibration, with its settings.

    Attributes:
        p: nominal probability of chance.
        power: the standard deviation is divided by to this power.
        weight: of hub scores.
        neighbors: banked questions in a hub score.
        skip: the nearest banked questions that are left out of it.
        distinct: whether N counts different documents only.
        tails: the level of a mixture of one normal distribution per document instead of one for all of them.
    """

    p: float = 1e-5
    power: float = 0.5
    weight: float = 0.5
    neighbors: int = 10
    skip: int = 0
    distinct: bool = True
    tails: bool = False

    def __call__(self, seen: Seen) -> Floats:
        """Score the documents."""
        hubs = np.float32(self.weight) * seen.best[:, self.skip : self.skip + self.neighbors].mean(axis=1)
        similar = seen.bank - hubs[:, None]
        tail = self.p / (seen.distinct if self.distinct else len(hubs))
        z = -NormalDist().inv_cdf(tail)
        mean = float(similar.mean(dtype=np.float64))
        if self.tails:
            level = _mixture(similar.mean(axis=1), similar.std(axis=1), tail)
            std = (level - mean) / z
        else:
            std = float(similar.std(axis=0).mean())
            level = mean + z * std
        scores: Floats = (seen.asked - hubs - level) / std**self.power
        return scores


def _mixture(means: Vector, stds: Vector, tail: float) -> float:
    """Solve ``mean over documents of 1 - Phi((L - mean_d) / std_d) = tail`` for L."""
    ndtr = require("scipy.special", "report").ndtr
    low, high = float(means.min()), float((means + 12 * stds).max())
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if ndtr((means - middle) / stds).mean() > tail else (low, middle)
    return (low + high) / 2


def standardized(weight: float) -> Variant:
    """Standardize with the best hits, after correcting hubs by this weight."""

    def score(seen: Seen) -> Floats:
        hubs = np.float32(weight) * seen.best[:, :10].mean(axis=1)
        best = (seen.bank - hubs[:, None]).max(axis=0)
        scores: Floats = (seen.asked - hubs - best.mean()) / best.std()
        return scores

    return score


def filled(case: Draw, least: int) -> Vector:
    """Fill the bank of a draw up with passages; see ``commonscale.core.padding``."""
    questions = [Question(vector=row) for row in case.bank]
    bank = padded(questions, VectorSource(TEXT, case.documents[TEXT]), at_least=least)
    return question_rows(bank, TEXT)


@dataclass(frozen=True, slots=True)
class Contender:
    """A variant, and the bank that it is given.

    Attributes:
        score: the variant.
        centered: whether the gap is removed first.
        least: questions up to which the bank is padded with passages.
    """

    score: Variant
    centered: bool = True
    least: int = 0


DEFAULT = "chance"

CONTENDERS: dict[str, Contender] = {
    DEFAULT: Contender(Chance()),
    "standardized (first paper)": Contender(standardized(0.0), centered=False),
    "centred, standardized": Contender(standardized(0.0)),
    "centred, hubs, standardized": Contender(standardized(0.5)),
    "chance, N counts copies": Contender(Chance(distinct=False)),
    "chance, not divided, p = .005": Contender(Chance(p=0.005, power=0.0)),
    "chance, bank padded to 100": Contender(Chance(), least=100),
    "chance, bank padded to 200": Contender(Chance(), least=200),
    "chance, bank padded to 500": Contender(Chance(), least=500),
    "chance, p = 1e-4": Contender(Chance(p=1e-4)),
    "chance, p = 1e-6": Contender(Chance(p=1e-6)),
    "chance, power .75, p = 1e-11": Contender(Chance(p=1e-11, power=0.75)),
    "chance, 5 neighbors": Contender(Chance(neighbors=5)),
    "chance, 20 neighbors": Contender(Chance(neighbors=20)),
    "chance, nearest question skipped": Contender(Chance(skip=1)),
    "chance, a tail per document, p = .03": Contender(Chance(p=0.03, tails=True)),
}


def scores(case: Draw, contenders: Mapping[str, Contender]) -> dict[str, dict[Modality, Floats]]:
    """Score all documents of a draw, by contender and modality."""
    views: dict[tuple[int, bool], dict[Modality, Seen]] = {}
    found = {}
    for name, contender in contenders.items():
        bank = filled(case, contender.least)
        key = len(bank), contender.centered
        if key not in views:
            views[key] = {
                modality: Seen.of(bank, case.questions, documents, center=contender.centered)
                for modality, documents in case.documents.items()
            }
        found[name] = {modality: contender.score(seen) for modality, seen in views[key].items()}
    return found
