"""Asking sources, and holding them to their contract."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from commonscale.core.attempts import aask, ask
from commonscale.core.concurrency import off_loop
from commonscale.core.cosines import TOLERANCE
from commonscale.core.errors import SourceError
from commonscale.core.failures import FailurePolicy
from commonscale.core.types import Candidates, Modality, Question, Source
from commonscale.core.unbounded import is_unbounded

_DEFAULT = FailurePolicy()


def checked_search(
    source: Source,
    questions: Sequence[Question],
    k: int,
    modality: Modality,
    failures: FailurePolicy = _DEFAULT,
) -> Sequence[Candidates]:
    """Search a source and check its answer.

    Args:
        source: the source.
        questions: the questions.
        k: hits per question, at least 1.
        modality: the source's modality, for error messages.
        failures: how long to wait for the source and how often to ask it; it raises, whatever the policy says.

    Returns:
        One ``Candidates`` per question.

    Raises:
        SourceUnavailableError: if the source cannot be reached or does not answer in time.
        SourceError: see ``check_candidates``.
    """
    found = ask(source, questions, k, modality, failures)
    return check_candidates(found, len(questions), k, modality, is_unbounded(source))


async def checked_asearch(
    source: Source,
    questions: Sequence[Question],
    k: int,
    modality: Modality,
    failures: FailurePolicy = _DEFAULT,
) -> Sequence[Candidates]:
    """Search a source without blocking the event loop: by its ``asearch``, else in a thread.

    Arguments, result and errors are those of ``checked_search``.
    """
    found = await aask(source, questions, k, modality, failures)
    count, unbounded = len(questions), is_unbounded(source)
    return await off_loop(count, check_candidates, found, count, k, modality, unbounded)


def check_candidates(
    found: Sequence[Candidates], expected: int, k: int, modality: Modality, unbounded: bool = False
) -> Sequence[Candidates]:
    """Check what a source returned: a wrong answer must not become a silently wrong ranking.

    Args:
        found: the answer.
        expected: how many questions were asked.
        k: how many hits were asked for.
        modality: the source's modality, for error messages.
        unbounded: whether scores of another kind stand in place of cosines, so that they may lie anywhere.

    Returns:
        ``found``, unchanged.

    Raises:
        SourceError: if answers are missing, there are more than ``k`` hits, ids and cosines differ in
            number, an id comes twice, a cosine is not finite or beyond [-1, 1], or hits are not sorted best first.
    """
    if len(found) != expected:
        raise SourceError(
            f"the source of modality {modality!r} answered {len(found)} of {expected} questions; "
            f"search() must return one Candidates per question"
        )
    for candidates in found:
        _check_one(candidates, k, modality, unbounded)
    return found


def _check_one(candidates: Candidates, k: int, modality: Modality, unbounded: bool) -> None:
    where = f"the source of modality {modality!r} returned"
    if not isinstance(candidates, Candidates):
        raise SourceError(f"{where} {type(candidates).__name__} for a question; search() must return Candidates")
    cosines = candidates.cosines
    count = len(candidates.ids)
    if not isinstance(cosines, np.ndarray) or cosines.shape != (count,):
        shape = getattr(cosines, "shape", type(cosines).__name__)
        raise SourceError(f"{where} {count} ids with cosines of shape {shape}; a numpy array (n,) is needed")
    if count > k:
        raise SourceError(f"{where} {count} hits where {k} were asked for")
    if candidates.payloads is not None and len(candidates.payloads) != count:
        raise SourceError(f"{where} {count} ids with {len(candidates.payloads)} payloads")
    # Calibration asks for single hits by the thousand: a plain comparison, which NaN fails, is enough for a good one.
    if count == 0 or (count == 1 and abs(cosines.item()) <= 1 + TOLERANCE):
        return
    if count > 1:
        # Corrected hits are sorted by similarity, by our own doing; their source's answers came sorted.
        if candidates.similarities is None and (cosines[1:] > cosines[:-1]).any():
            raise SourceError(f"{where} hits that are not sorted by cosine, best first: {cosines[:5].tolist()} ...")
        if len(set(candidates.ids)) < count:
            twice = next(name for name, times in Counter(candidates.ids).items() if times > 1)
            raise SourceError(f"{where} a document twice: {twice!r}; ids must be unique, give every document its own")
    # A sum is finite only if every term is; of sorted cosines the ends tell the range.
    if not math.isfinite(float(cosines.sum())):
        bad = int(np.argmin(np.isfinite(cosines)))
        raise SourceError(
            f"{where} the cosine {float(cosines[bad])!r} for document {candidates.ids[bad]!r}; "
            f"its vector, or the question's, is null or not finite"
        )
    most = max(cosines[0], -cosines[-1]) if candidates.similarities is None else np.abs(cosines).max()
    if most > 1 + TOLERANCE and not unbounded:
        raise SourceError(
            f"{where} a cosine of {float(most):.6g} in absolute value; a source must return true cosines: convert "
            f"scores with commonscale.to_cosine(scores, kind), or recompute with commonscale.cosines_with"
        )
