"""Asking one source under a failure policy: in time, again after passing failures, with one clear error in the end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any, TypeVar

from commonscale.core.errors import SourceUnavailableError
from commonscale.core.extras import require
from commonscale.core.failures import FailurePolicy
from commonscale.core.passing import is_passing
from commonscale.core.threads import in_daemon_thread, off_thread
from commonscale.core.types import Candidates, Modality, Question, Source

T = TypeVar("T")

_LONGEST_PAUSE = 30.0


def ask(
    source: Source, questions: Sequence[Question], k: int, modality: Modality, failures: FailurePolicy
) -> Sequence[Candidates]:
    """Search a source under a failure policy.

    Args:
        source: the source.
        questions: the questions.
        k: hits per question.
        modality: the source's modality, for messages.
        failures: how long to wait and how often to ask.

    Returns:
        What the source answered, unchecked.

    Raises:
        SourceUnavailableError: if it fails in a passing way after every attempt; other errors come as they are.
    """
    call: Callable[[], Sequence[Candidates]] = partial(source.search, questions, k)
    if failures.timeout is not None:
        call = partial(within, failures.timeout, call)
    attempts = failures.attempts_for(source)
    if attempts > 1:
        call = partial(_retrying("Retrying", attempts, failures.backoff), call)
    try:
        return call()
    except Exception as error:
        if not is_passing(error):
            raise
        raise unavailable(source, modality, error, attempts, failures) from error


async def aask(
    source: Source, questions: Sequence[Question], k: int, modality: Modality, failures: FailurePolicy
) -> Sequence[Candidates]:
    """As ``ask``, without blocking the event loop: by the source's ``asearch``, else in a thread."""
    call = partial(_acall, source, questions, k, failures.timeout)
    attempts = failures.attempts_for(source)
    if attempts > 1:
        call = partial(_retrying("AsyncRetrying", attempts, failures.backoff), call)
    try:
        return await call()
    except Exception as error:
        if not is_passing(error):
            raise
        raise unavailable(source, modality, error, attempts, failures) from error


async def _acall(source: Source, questions: Sequence[Question], k: int, timeout: float | None) -> Sequence[Candidates]:
    asearch: Callable[[Sequence[Question], int], Awaitable[Sequence[Candidates]]] | None
    asearch = getattr(source, "asearch", None)
    found: Awaitable[Sequence[Candidates]]
    if asearch is not None and inspect.iscoroutinefunction(asearch):
        found = asearch(questions, k)
    else:
        found = off_thread(source.search, questions, k)
    if timeout is None:
        return await found
    try:
        return await asyncio.wait_for(found, timeout)
    except asyncio.TimeoutError as error:
        if error.args:  # the store's own, in its own words
            raise
        raise TimeoutError(_late(timeout)) from None


def within(seconds: float, call: Callable[[], T]) -> T:
    """Call a function in a helping thread and wait for it no longer than this.

    Raises:
        TimeoutError: if it has not returned by then; the thread is left to end by itself.
    """
    future = in_daemon_thread(call)
    try:
        return future.result(seconds)
    except FutureTimeoutError:
        if not future.cancel():  # the function's own
            return future.result()
        raise TimeoutError(_late(seconds)) from None
    except BaseException:
        future.cancel()  # The caller was interrupted while it waited.
        raise


def _late(seconds: float) -> str:
    return f"no answer within {seconds:g} s"


def _retrying(kind: str, attempts: int, backoff: float) -> Any:
    """Make tenacity's caller, which repeats a call after passing failures and raises the last one."""
    tenacity = require("tenacity", "retries")
    return getattr(tenacity, kind)(
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential(multiplier=backoff, max=_LONGEST_PAUSE) + tenacity.wait_random(0, backoff),
        retry=tenacity.retry_if_exception(is_passing),
        reraise=True,
    )


def opened(modality: Modality, store: Any, open_it: Callable[[], T]) -> T:
    """Open one modality of a store.

    Args:
        modality: the modality.
        store: the store, for messages.
        open_it: opens it; this may ask a server for its settings.

    Returns:
        What was opened.

    Raises:
        SourceUnavailableError: if that fails in a passing way; other errors come as they are.
    """
    try:
        return open_it()
    except Exception as error:
        if not is_passing(error):
            raise
        raise SourceUnavailableError(
            f"the {type(store).__name__} of modality {modality!r} cannot be opened: {described(error)}. Check that its "
            f"server runs and can be reached, and try again"
        ) from error


def unavailable(
    source: Any, modality: Modality, error: BaseException, attempts: int, failures: FailurePolicy
) -> SourceUnavailableError:
    """Make the error that says which source failed, how, and what to do."""
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    timeout = failures.timeout
    limit = "" if timeout is None else f"; if it is only slow, raise timeout= (now {timeout:g} s)"
    skip = "; to rank the other modalities without it, search with failures=FailurePolicy(on_failure='skip')"
    return SourceUnavailableError(
        f"the {store_name(source)} of modality {modality!r} cannot be searched{tries}: {described(error)}. Check that "
        f"its server runs and can be reached{limit}{'' if failures.on_failure == 'skip' else skip}"
    )


def described(error: BaseException) -> str:
    """Give an error's class and words on one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def store_name(source: Any) -> str:
    """Name the store behind a source for messages: by its ``store_name`` if it has one, else by its own class."""
    return getattr(source, "store_name", None) or type(source).__name__
