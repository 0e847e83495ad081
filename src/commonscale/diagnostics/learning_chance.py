"""Drawing banks for the learning curve of chance-level calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from commonscale.core.background import Background
from commonscale.core.methods import CHANCE
from commonscale.core.question_vectors import question_rows
from commonscale.core.questions import QuestionBank
from commonscale.core.types import Floats, Modality, Question
from commonscale.diagnostics.draws import generator
from commonscale.diagnostics.learning import Drawn
from commonscale.diagnostics.material import Sample
from commonscale.diagnostics.similarity import corrected
from commonscale.evaluation.sources import VectorSource

PAIRS = 6
"""Pairs of banks drawn for each size; a bank's scale is learned anew, so they are few."""

Hits = npt.NDArray[np.int64]


def draw_chance(
    bank: Sequence[Question],
    asked: Sequence[Question],
    sample: Mapping[Modality, Sample],
    counts: Mapping[Modality, int],
    k: int,
    seed: int,
) -> Callable[[int], Drawn]:
    """Draw banks for chance-level calibration, two at a time that share no question.

    They are drawn without replacement, since copies of a question would pass for hubs; so none is larger than half
    of what there is.

    Args:
        bank: the questions, at least twice as many as the largest size.
        asked: questions to rank for.
        sample: the documents that are ranked and that scales are learned from.
        counts: how many documents there are in all, which is the N of the chance level.
        k: how many hits are looked at.
        seed: of the draws.
    """
    sources = {modality: VectorSource(modality, some.vectors) for modality, some in sample.items()}

    # These sources number their documents: their names are not those that the documents have elsewhere.
    numbered = {m: Sample([name for page, _ in s.scan() for name in page], s.vectors) for m, s in sources.items()}

    def scored(banked: Sequence[Question]) -> tuple[list[float], list[float], list[float], Hits]:
        learned = QuestionBank.fit(banked, sources, method=CHANCE)
        locations, scales, best, parts = [], [], [], []
        for modality, source in sources.items():
            own = learned.backgrounds[modality]
            # Of the sample some are copies, which count once: the same share is taken for copies among all.
            different = max(1, round(own.documents / len(source.vectors) * counts[modality]))
            level = Background(own.mean, own.std, different, own.p)
            rows = question_rows(asked, modality, source.vectors.shape[1])
            questions, documents, minus = corrected(learned.corrections[modality], rows, numbered[modality])
            scores = (questions @ documents.T - minus - level.level) / level.scale
            locations.append(level.level)
            scales.append(level.scale)
            best.append(float(scores.max(axis=1).mean()))
            parts.append(scores)
        return locations, scales, best, _first(np.concatenate(parts, axis=1), k)

    borders = np.cumsum([len(some) for some in sample.values()])

    def draw(size: int) -> Drawn:
        random = generator(seed, "banks", size)
        ones, others = [], []
        for _ in range(PAIRS):
            order = random.permutation(len(bank))
            ones.append(scored([bank[at] for at in order[:size]]))
            others.append(scored([bank[at] for at in order[size : 2 * size]]))
        pairs = [(one[3], other[3]) for one, other in zip(ones, others, strict=True)]
        moved = np.mean([_moved(*pair, borders) for pair in pairs])
        changed = np.mean([_changed(*pair) for pair in pairs])
        locations, scales, best = (np.array([entry[part] for entry in [*ones, *others]]) for part in range(3))
        return Drawn(locations, scales, best, float(moved), float(changed))

    return draw


def _first(scores: Floats, k: int) -> Hits:
    depth = min(k, scores.shape[1])
    return np.argpartition(-scores, depth - 1, axis=1)[:, :depth]


def _moved(one: Hits, other: Hits, borders: npt.NDArray[np.int64]) -> float:
    counts = [
        np.stack([(np.searchsorted(borders, hits, side="right") == at).sum(axis=1) for at in range(len(borders))])
        for hits in (one, other)
    ]
    return float(np.abs(counts[0] - counts[1]).sum() / 2 / one.size)


def _changed(one: Hits, other: Hits) -> float:
    kept = (one[:, :, None] == other[:, None, :]).any(axis=2)
    return float(1 - kept.mean())
