"""Whether a store finds the closest documents, in order, as far as a few answers can tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from commonscale.core.cosines import TOLERANCE
from commonscale.core.types import Floats
from commonscale.core.verification.evidence import Answer, Evidence
from commonscale.core.verification.report import Finding

_OUT_OF_ORDER = 0.01
"""By how much a later hit's cosine may exceed an earlier one's: rounding of half precision stays far below."""

_ITSELF = 1.0 - 1e-4
"""Least cosine of a vector with itself, after the rounding of float32 and of the store."""


class Neighbors(NamedTuple):
    """What the answers tell about the search itself.

    Attributes:
        recall: share of the closest documents, among those seen in any answer, that each answer had.
        findings: what was found.
    """

    recall: float
    findings: tuple[Finding, ...]


def check_neighbors(evidence: Evidence, noise: float, *, explained: bool) -> Neighbors:
    """Look for hits out of order, and for documents that one answer had and another missed.

    Args:
        evidence: answers with vectors and at least one hit.
        noise: the largest of what is unsystematic in the store's numbers, by which it may misjudge two documents.
        explained: whether it is known already that the store does not order by cosine.
    """
    seen = _seen(evidence)
    margin = TOLERANCE + noise
    had, due = 0, 0
    for answer in evidence.answers:
        own, wanted = _share(answer, seen, evidence.k, margin)
        had, due = had + own, due + wanted
    recall = had / due if due else 1.0
    if explained:
        return Neighbors(recall, ())
    worst = max(_disorder(answer.cosines) for answer in evidence.answers)
    if worst > _OUT_OF_ORDER + 2 * noise:
        words = (
            f"hits do not come in the order of their cosines (one had a cosine {worst:.2g} above an earlier one's): "
            f"the store looks for something else than the closest vectors (diversified results (MMR), a hybrid search, "
            f"a reranker, very coarse compression), so documents of high cosine are missed; search it by plain "
            f"similarity"
        )
        return Neighbors(recall, (Finding("reordered", words, error=True),))
    return Neighbors(recall, _approximate(evidence, recall))


def _approximate(evidence: Evidence, recall: float) -> tuple[Finding, ...]:
    stored = [answer for answer in evidence.answers if answer.stored]
    lost = sum(1 for answer in stored if not (answer.cosines >= _ITSELF).any())
    if recall >= 1.0 and not lost:
        return ()
    words = (
        f"the search is approximate: of the closest documents seen, answers had {recall:.1%}, and {lost} of "
        f"{len(stored)} stored vectors did not find themselves; raise the store's search effort (nprobe, ef, "
        f"num_candidates) if that is too little"
    )
    return (Finding("approximate", words, error=False),)


def _seen(evidence: Evidence) -> Floats:
    """Gather the different vectors of all hits, normalized.

    Ids alone do not tell: chunks of one page may share theirs. Nor do vectors alone: a store that normalizes them as it
    returns them may round them differently each time.
    """
    kept: dict[str, list[Floats]] = {}
    for answer in evidence.answers:
        for key, vector in zip(answer.ids, () if answer.vectors is None else answer.vectors, strict=True):
            unit = vector / np.linalg.norm(vector)
            known = kept.setdefault(key, [])
            if all(float(unit @ other) < _ITSELF for other in known):
                known.append(unit)
    return np.array([vector for vectors in kept.values() for vector in vectors])


def _share(answer: Answer, seen: Floats, k: int, margin: float) -> tuple[int, int]:
    """Count the closest documents seen anywhere that an answer has, and how many it should have."""
    wanted = min(k, len(seen))
    least = np.partition(seen @ answer.row, len(seen) - wanted)[len(seen) - wanted]
    return min(wanted, int((answer.cosines >= least - margin).sum())), wanted


def _disorder(cosines: Floats) -> float:
    """By how much the cosine of a hit exceeds that of an earlier one, at most."""
    return float((cosines - np.minimum.accumulate(cosines)).max()) if len(cosines) else 0.0
