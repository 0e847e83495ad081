"""Asking sources, and holding them to their contract."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from commonscale.core.errors import SourceError
from commonscale.core.types import Candidates, Modality, Question, Source


def checked_search(source: Source, questions: Sequence[Question], k: int, modality: Modality) -> Sequence[Candidates]:
    """Search a source and check its answer.

    Args:
        source: the source.
        questions: the questions.
        k: hits per question, at least 1.
        modality: the source's modality, for error messages.

    Returns:
        One ``Candidates`` per question.

    Raises:
        SourceError: see ``check_candidates``.
    """
    return check_candidates(source.search(questions, k), len(questions), k, modality)


async def checked_asearch(
    source: Source, questions: Sequence[Question], k: int, modality: Modality
) -> Sequence[Candidates]:
    """Search a source without blocking the event loop: by its ``asearch``, else in a thread.

    Arguments, result and errors are those of ``checked_search``.
    """
    asearch: Callable[[Sequence[Question], int], Awaitable[Any]] | None = getattr(source, "asearch", None)
    if asearch is not None and inspect.iscoroutinefunction(asearch):
        found = await asearch(questions, k)
    else:
        found = await asyncio.to_thread(source.search, questions, k)
    return check_candidates(found, len(questions), k, modality)


def check_candidates(found: Sequence[Candidates], expected: int, k: int, modality: Modality) -> Sequence[Candidates]:
    """Check what a source returned: a wrong answer must not become a silently wrong ranking.

    Args:
        found: the answer.
        expected: how many questions were asked.
        k: how many hits were asked for.
        modality: the source's modality, for error messages.

    Returns:
        ``found``, unchanged.

    Raises:
        SourceError: if answers are missing, there are more than ``k`` hits, ids and cosines differ in
            number, a cosine is not finite, or hits are not sorted best first.
    """
    if len(found) != expected:
        raise SourceError(
            f"the source of modality {modality!r} answered {len(found)} of {expected} questions; "
            f"search() must return one Candidates per question"
        )
    for candidates in found:
        _check_one(candidates, k, modality)
    return found


def _check_one(candidates: Candidates, k: int, modality: Modality) -> None:
    cosines = candidates.cosines
    count = len(candidates.ids)
    where = f"the source of modality {modality!r} returned"
    if count > k:
        raise SourceError(f"{where} {count} hits where {k} were asked for")
    if cosines.shape != (count,):
        raise SourceError(f"{where} {count} ids with cosines of shape {cosines.shape}; one cosine per id is needed")
    if candidates.payloads is not None and len(candidates.payloads) != count:
        raise SourceError(f"{where} {count} ids with {len(candidates.payloads)} payloads")
    # A sum is finite only if every term is: one pass without a temporary array, on the path of every search.
    if count and not math.isfinite(cosines[0] if count == 1 else cosines.sum()):
        bad = int(np.argmin(np.isfinite(cosines)))
        raise SourceError(
            f"{where} the cosine {float(cosines[bad])!r} for document {candidates.ids[bad]!r}; "
            f"its vector, or the question's, is null or not finite"
        )
    if count > 1 and (cosines[1:] > cosines[:-1]).any():
        raise SourceError(f"{where} hits that are not sorted by cosine, best first: {cosines[:5].tolist()} ...")
