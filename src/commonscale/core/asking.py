"""Asking the sources of all modalities side by side, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from commonscale.core.attempts import described
from commonscale.core.concurrency import amap_bounded, run_together
from commonscale.core.errors import MissingModalityWarning, SourceError, SourceUnavailableError, StoreCheckError
from commonscale.core.failures import FailurePolicy
from commonscale.core.sources import checked_asearch, checked_search
from commonscale.core.types import Candidates, Modality, Question, Source
from commonscale.core.warn import warn

Outcome: TypeAlias = "Sequence[Candidates] | SourceError"


class Found(NamedTuple):
    """What a joint search found.

    Attributes:
        answers: one ``Candidates`` per question, by modality.
        missing: why a modality has none, for those whose source failed.
    """

    answers: Mapping[Modality, Sequence[Candidates]]
    missing: Mapping[Modality, str]


def search_all(
    sources: Mapping[Modality, Source], questions: Sequence[Question], k: int, failures: FailurePolicy
) -> Found:
    """Search all sources, one batch each; those that allow it (see ``Source``) side by side.

    Args:
        sources: one source per modality, at least one.
        questions: the questions.
        k: hits per question, at least 1.
        failures: what to do about sources that fail.

    Returns:
        What was found, and what is missing.

    Raises:
        SourceError: if a source fails and the policy is to raise, or all of them fail.
    """
    searches = [partial(_outcome, source, questions, k, m, failures) for m, source in sources.items()]
    outcomes = run_together(searches, [getattr(source, "concurrent", False) for source in sources.values()])
    return _divided(sources, outcomes)


async def asearch_all(
    sources: Mapping[Modality, Source], questions: Sequence[Question], k: int, failures: FailurePolicy
) -> Found:
    """As ``search_all``, all sources concurrently and off the event loop.

    If one fails for good, the others are cancelled and awaited before its error is raised.
    """

    async def one(entry: tuple[Modality, Source]) -> Outcome:
        return await _aoutcome(entry[1], questions, k, entry[0], failures)

    return _divided(sources, await amap_bounded(one, list(sources.items()), len(sources)))


def _outcome(
    source: Source, questions: Sequence[Question], k: int, modality: Modality, failures: FailurePolicy
) -> Outcome:
    try:
        return checked_search(source, questions, k, modality, failures)
    except SourceError as error:
        if failures.on_failure == "raise" or isinstance(error, StoreCheckError):
            raise  # A store that is set up wrongly stays so: that is to be mended, not to be passed over.
        return error


async def _aoutcome(
    source: Source, questions: Sequence[Question], k: int, modality: Modality, failures: FailurePolicy
) -> Outcome:
    try:
        return await checked_asearch(source, questions, k, modality, failures)
    except SourceError as error:
        if failures.on_failure == "raise" or isinstance(error, StoreCheckError):
            raise  # A store that is set up wrongly stays so: that is to be mended, not to be passed over.
        return error


def _divided(modalities: Iterable[Modality], outcomes: Sequence[Outcome]) -> Found:
    """Tell answers from failures; warn of a failure, unless there is nothing else."""
    pairs = list(zip(modalities, outcomes, strict=True))
    answers = {modality: outcome for modality, outcome in pairs if not isinstance(outcome, SourceError)}
    errors = {modality: outcome for modality, outcome in pairs if isinstance(outcome, SourceError)}
    missing = {modality: described(error) for modality, error in errors.items()}
    if not answers:
        first = next(iter(errors.values()))
        if len(errors) == 1:
            raise first
        listed = "; ".join(missing.values())
        raise SourceUnavailableError(f"none of the {len(errors)} modalities can be searched: {listed}") from first
    for modality, why in missing.items():
        warn(f"the ranking is without modality {modality!r}, whose source failed: {why}", MissingModalityWarning)
    return Found(answers, missing)
