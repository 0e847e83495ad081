"""Sources around other sources: what they pass on, and how those that leave hits out get enough of them."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from commonscale.core.attempts import store_name
from commonscale.core.errors import SourceError
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Question, Source

_OWN = ("search", "asearch")


class SourceAround:
    """A source that asks another one, and is in all else as that one.

    Whatever attribute it does not have itself (whether it is remote, concurrent or unbounded, its score kind, its
    dimension, its probe) is the other's, so none can be forgotten. Searches are never passed on: ``asearch`` exists if
    a subclass has ``_asearch`` and the other source a truly asynchronous search.
    """

    def __init__(self, source: Source) -> None:
        """Wrap ``source``."""
        self._source = source
        own = getattr(type(self), "_asearch", None)
        if own is not None and inspect.iscoroutinefunction(getattr(source, "asearch", None)):
            self.asearch = own.__get__(self)

    @property
    def store_name(self) -> str:
        """What messages call it."""
        return store_name(self._source)

    def __getattr__(self, name: str) -> Any:
        # Private names are asked for by copying and pickling too, before there is a source.
        if name.startswith("_") or name in _OWN:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._source, name)


class _Answer(Protocol):
    @property
    def ids(self) -> Sequence[str]: ...


A = TypeVar("A", bound=_Answer)


class Deepening(Generic[A]):
    """Asks for more and more hits, until enough are kept or there are no more.

        deepening = Deepening(questions, k, keep, name)
        while deepening.asked:
            deepening.take(search(deepening.asked, deepening.depth))
        return deepening.kept

    There are no more if fewer come than were asked for, or no more than before.

    Attributes:
        depth: how many hits to ask for.
        kept: what is kept for each question, in order.
    """

    def __init__(
        self, questions: Sequence[Question], k: int, keep: Callable[[Question, A, int], Candidates], name: str
    ) -> None:
        """Begin with all questions.

        Args:
            questions: the questions.
            k: how many hits of each are wanted.
            keep: takes the best ``k`` hits of an answer that may stay.
            name: what messages call the source.
        """
        self.depth = k
        self.kept = [Candidates((), np.empty(0))] * len(questions)
        self._questions = list(questions)
        self._k = k
        self._keep = keep
        self._name = name
        self._open = list(range(len(questions)))
        self._sizes = [0] * len(questions)

    @property
    def asked(self) -> list[Question]:
        """The questions to ask next; empty at the end."""
        return [self._questions[place] for place in self._open]

    def take(self, found: Sequence[A]) -> None:
        """Take the answers to the questions asked.

        Raises:
            SourceError: if they are more or fewer than the questions.
        """
        if len(found) != len(self._open):
            raise SourceError(
                f"{self._name} answered {len(found)} of {len(self._open)} questions; search() must return one "
                f"Candidates per question"
            )
        short = []
        for place, answer in zip(self._open, found, strict=True):
            self.kept[place] = self._keep(self._questions[place], answer, self._k)
            size = len(answer.ids)
            if len(self.kept[place].ids) < self._k and size >= self.depth and size > self._sizes[place]:
                short.append(place)
            self._sizes[place] = size
        self._open = short
        self.depth *= 2


class SiftingSource(SourceAround, ABC):
    """A source around another one that leaves out some of its hits, and asks deeper until ``k`` are left.

    So the hits that are left out never starve the others.
    """

    def __init__(self, source: Source, modality: str) -> None:
        """Wrap the source of a modality."""
        super().__init__(source)
        self._called = f"the source of modality {modality!r}"
        self._sifted = modality

    @abstractmethod
    def sift(self, found: Candidates, k: int) -> Candidates:
        """Give the best ``k`` hits that may stay."""

    def search(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        """Find the ``k`` hits closest to each question that may stay."""
        deepening = Deepening(questions, k, self._kept, self._called)
        while deepening.asked:
            deepening.take(self._source.search(deepening.asked, deepening.depth))
        return deepening.kept

    async def _asearch(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        ask = self._source.asearch  # type: ignore[attr-defined]
        deepening = Deepening(questions, k, self._kept, self._called)
        while deepening.asked:
            # Sifting may read documents from a database.
            await off_thread(deepening.take, await ask(deepening.asked, deepening.depth))
        return deepening.kept

    def _kept(self, _: Question, found: Candidates, k: int) -> Candidates:
        return self.sift(found, k)
