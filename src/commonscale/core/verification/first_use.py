"""The check of every source before it is searched for the first time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

from commonscale.core.errors import StoreCheckError
from commonscale.core.threads import off_thread, raise_if_abandoned, wait_while_wanted
from commonscale.core.types import Candidates, Modality, Question, Source
from commonscale.core.verification.check import check_source, verifiable
from commonscale.core.verification.evidence import QUICK, WORDING
from commonscale.core.verification.report import NO_HITS


class FirstUse:
    """Remembers which sources have been checked; searches over the same sources may share it.

    A source whose store may be set up anew while it is in use has an attribute ``version``: its store's settings as
    they are known now, without asking a server; None while they must be asked for, which ``read_version()`` does.
    When they are no longer those that were checked, the source is checked again.

    Errors found are raised; notes are left to ``verify``. A store that finds nothing may be empty, so it is checked
    again as soon as a search finds something, before that is returned. Threads may share it: one checks, the others
    wait for it, no longer than somebody waits for them.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._done: dict[Modality, Any] = {}
        self._empty: set[Modality] = set()
        self._turns: dict[Modality, Future[None]] = {}

    def guarded(self, sources: Mapping[Modality, Source]) -> dict[Modality, Source]:
        """Give sources to search in place of these: the same, or those that check the store first."""
        return {m: GuardedSource(s, m, self) if self.due(s, m) else s for m, s in sources.items()}

    def due(self, source: Any, modality: Modality) -> bool:
        """Whether a source must be checked before it is searched."""
        if not self._enabled or not getattr(source, "needs_check", True):
            return False
        if modality in self._done and self._done[modality] == getattr(source, "version", None):
            return False
        return bool(verifiable({modality: source}))

    def check(self, source: Source, modality: Modality, questions: Sequence[Question]) -> None:
        """Check a source, unless that has been done.

        Args:
            source: the source.
            modality: its modality.
            questions: at least one, which tells the dimension.

        Raises:
            StoreCheckError: if its rankings would be silently wrong; the message is the report.
            TimeoutError: if nobody waits for the search any more.
        """
        with self._turn(modality):
            version = _version(source)
            if modality in self._done and self._done[modality] == version:
                return
            first = questions[0]
            found = check_source(source, modality, len(first.vector_for(modality)), QUICK, first.text or WORDING)
            if not found.ok:
                raise StoreCheckError(
                    f"the store of modality {modality!r} does not return what its scores are taken for, or does not "
                    f"find the closest documents. Mend what is named, see it all with verify(), or search all the same "
                    f"with check=False:\n{found}"
                )
            if found.unchecked == NO_HITS:
                self._empty.add(modality)
            else:
                self._done[modality] = version
                self._empty.discard(modality)

    async def acheck(self, source: Source, modality: Modality, questions: Sequence[Question]) -> None:
        """As ``check``, off the event loop; waiting for another's check takes no thread."""
        while (other := self._turns.get(modality)) is not None:
            await asyncio.wrap_future(other)
        if self.due(source, modality):
            await off_thread(self.check, source, modality, questions)

    def found_empty(self, modality: Modality) -> bool:
        """Whether the last check found nothing; then the store is to be checked after a search that does."""
        return modality in self._empty

    @contextmanager
    def _turn(self, modality: Modality) -> Iterator[None]:
        """Let one thread after the other check a modality; those for which nobody waits any more give up."""
        mine: Future[None] = Future()
        mine.set_running_or_notify_cancel()  # Whoever stops waiting for it does not cancel it for the others.
        while (other := self._turns.setdefault(modality, mine)) is not mine:
            wait_while_wanted(other)
            raise_if_abandoned()
        try:
            yield
        finally:
            del self._turns[modality]
            mine.set_result(None)
        raise_if_abandoned()


class GuardedSource:
    """A source that is checked before it is searched; in all else as the source."""

    def __init__(self, source: Source, modality: Modality, first_use: FirstUse) -> None:
        self._source = source
        self._modality = modality
        self._first_use = first_use
        if inspect.iscoroutinefunction(getattr(source, "asearch", None)):
            self.asearch = self._asearch

    @property
    def store_name(self) -> str:
        """Name of the store, for messages."""
        return getattr(self._source, "store_name", None) or type(self._source).__name__

    def search(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        """Check the source if that is still to be done, and search it; one that was empty, the other way round."""
        empty = self._first_use.found_empty(self._modality)
        if empty and not _finds(found := self._source.search(questions, k)):
            return found
        self._first_use.check(self._source, self._modality, questions)
        return found if empty else self._source.search(questions, k)

    async def _asearch(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        asearch: Callable[..., Awaitable[Sequence[Candidates]]] = cast(Any, self._source).asearch
        empty = self._first_use.found_empty(self._modality)
        if empty and not _finds(found := await asearch(questions, k)):
            return found
        await self._first_use.acheck(self._source, self._modality, questions)
        return found if empty else await asearch(questions, k)

    def __getattr__(self, name: str) -> Any:
        # Whether it is remote, concurrent or unbounded: whatever searches ask of a source.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)


def _finds(found: Sequence[Candidates]) -> bool:
    return any(len(one.ids) for one in found)


def _version(source: Any) -> Any:
    """Give the settings of a source's store as they are now; None if it does not say."""
    read = getattr(source, "read_version", None)
    return None if read is None else read()
