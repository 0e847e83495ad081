"""Which questions calibrate, and which are asked afterwards: never the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from commonscale.core.calibration import Calibration
from commonscale.core.questions import QuestionBank
from commonscale.core.search import JointSearch
from commonscale.core.types import Question, Ranking
from commonscale.diagnostics.draws import generator
from commonscale.diagnostics.material import Material

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Questions to calibrate with, and others to ask.

    Attributes:
        bank: the former.
        asked: places of the latter among all questions that are asked (n,).
    """

    bank: Sequence[Question]
    asked: Places


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """How a material's questions are used.

    Attributes:
        questions: those that are asked.
        folds: who is asked under whose scale; every question is asked once.
        halves: two halves of the bank, to see how far their scales agree; None if there is only one question.
        held_out: whether no question is asked under a scale that it helped to make.
    """

    questions: Sequence[Question]
    folds: Sequence[Fold]
    halves: tuple[Sequence[Question], Sequence[Question]] | None
    held_out: bool


def split(material: Material) -> Split:
    """Divide the questions: the bank calibrates for what is asked, or each half of it for the other half.

    Copies of a question stay in one half, so that no question meets itself.

    Args:
        material: the material; its seed draws the halves.
    """
    bank = list(material.bank)
    places = _halves(bank, material.seed)
    halves = None if places is None else ([bank[at] for at in places[0]], [bank[at] for at in places[1]])
    if material.asked:
        return Split(material.asked, [Fold(bank, np.arange(len(material.asked)))], halves, True)
    if places is None or halves is None:
        return Split(bank, [Fold(bank, np.arange(len(bank)))], None, False)
    return Split(bank, [Fold(halves[0], places[1]), Fold(halves[1], places[0])], halves, True)


def fit(questions: Sequence[Question], material: Material, method: str) -> Calibration:
    """Learn a scale from questions."""
    return Calibration.from_bank(QuestionBank.fit(questions, material.sources, method=method))


def rank(
    material: Material,
    questions: Sequence[Question],
    folds: Sequence[Fold],
    scales: Sequence[Calibration | None],
    k: int,
) -> list[Ranking]:
    """Rank the documents for every question, under the scale of its fold; by raw cosine where that is None.

    Args:
        material: the documents.
        questions: those that are asked.
        folds: who is asked under which scale.
        scales: the scale of each fold.
        k: hits per question.
    """
    found: dict[int, Ranking] = {}
    for fold, scale in zip(folds, scales, strict=True):
        search = JointSearch(material.sources, scale)
        asked = [questions[at] for at in fold.asked]
        found.update(zip(fold.asked.tolist(), search.search_batch(asked, k, raw=scale is None), strict=True))
    return [found[at] for at in range(len(questions))]


def _halves(bank: Sequence[Question], seed: int) -> tuple[Places, Places] | None:
    groups: dict[tuple[bytes, ...], list[int]] = {}
    for at, question in enumerate(bank):
        vectors = [question.vector, *(question.vectors[name] for name in sorted(question.vectors))]
        groups.setdefault(tuple(v.tobytes() for v in vectors if v is not None), []).append(at)
    if len(groups) < 2:
        return None
    copies = list(groups.values())
    order = generator(seed, "halves").permutation(len(copies))
    middle = len(copies) // 2
    first = [at for group in order[:middle] for at in copies[group]]
    second = [at for group in order[middle:] for at in copies[group]]
    return np.sort(np.array(first, dtype=np.intp)), np.sort(np.array(second, dtype=np.intp))
