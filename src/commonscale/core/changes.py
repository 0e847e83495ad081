"""Telling living calibrations what comes into a store and what goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy.typing as npt

from commonscale.core.attempts import described, store_name
from commonscale.core.errors import InvalidInputError, StaleCalibrationWarning
from commonscale.core.living import LivingCalibration
from commonscale.core.turns import Turns
from commonscale.core.types import Modality, Vector
from commonscale.core.warn import warn


@dataclass(frozen=True, eq=False)
class Watcher:
    """One modality of a living calibration that follows a store.

    Attributes:
        living: the calibration.
        modality: the modality.
        belongs: tells of a document, in the form that the store's own class has of it, whether it is of this modality.
    """

    living: LivingCalibration
    modality: Modality
    belongs: Callable[[Any], bool]


Memory: TypeAlias = Sequence[tuple[Watcher, Mapping[str, Vector]]]
"""Who is told of a change, and the vectors that each must know of documents that go or are replaced."""


class Changes:
    """The changes of one store, and who is told of them.

    Whoever changes the store holds a turn, asks ``remember`` before and tells ``added`` or ``removed`` after it: only
    of what the store has taken, so that a failure of the store leaves the calibrations as they were. What a calibration
    cannot do about a change is a warning, never an error: the change has been made. The calibration makes up for it
    with the next one.

    Attributes:
        turns: one change at a time.
        watchers: who is told.
    """

    def __init__(self) -> None:
        self.turns = Turns()
        self.watchers: tuple[Watcher, ...] = ()

    def __deepcopy__(self, memo: dict[int, object]) -> Changes:
        # Copies of a store's object share its client and so its documents.
        return self

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell somebody of all changes from now on; give a function that ends it."""
        self.watchers = (*self.watchers, watcher)

        def end() -> None:
            self.watchers = tuple(one for one in self.watchers if one is not watcher)

        return end

    def remember(self, ids: Sequence[str]) -> Memory:
        """Read what must be known of documents that are about to be replaced or removed.

        A store that does not give vectors, or fails, costs no more than that all documents are read afterwards.
        """
        memory: list[tuple[Watcher, Mapping[str, Vector]]] = []
        for watcher in self.watchers:
            try:
                memory.append((watcher, watcher.living.remember(watcher.modality, list(ids))))
            except Exception:  # noqa: BLE001 (whatever a store's client raises; the change itself may still succeed)
                memory.append((watcher, {}))
        return memory

    def nothing(self) -> Memory:
        """Remember nothing of any document."""
        return [(watcher, {}) for watcher in self.watchers]

    def added(
        self, ids: Sequence[str], vectors: npt.NDArray[Any] | None, documents: Sequence[Any], memory: Memory
    ) -> None:
        """Tell that documents were put in, or put in place of others.

        Args:
            ids: their ids (n).
            vectors: theirs (n, d); None if they are not known.
            documents: the documents (n), for ``Watcher.belongs``.
            memory: what ``remember`` gave.
        """
        for watcher, before in memory:
            own = [place for place, document in enumerate(documents) if watcher.belongs(document)]
            mine = [ids[place] for place in own]
            # Put in again under another modality, a document is gone from this one.
            others = sorted(set(ids) - set(mine))
            if others:
                _tell(partial(watcher.living.removed, watcher.modality, others, before))
            if mine:
                rows = None if vectors is None else vectors[own]
                _tell(partial(watcher.living.added, watcher.modality, mine, rows, before))

    def removed(self, ids: Sequence[str], memory: Memory) -> None:
        """Tell that documents are gone; ids that were never there do no harm."""
        for watcher, before in memory if ids else ():
            _tell(partial(watcher.living.removed, watcher.modality, list(ids), before))

    def unknown(self) -> None:
        """Tell that nobody knows what has changed: everything is fitted anew."""
        for living in dict.fromkeys(watcher.living for watcher in self.watchers):
            _tell(living.refit)


@dataclass(frozen=True, eq=False)
class Watchable:
    """What a source says of itself if its store tells of changes; its attribute ``changes``.

    Attributes:
        changes: those of its store.
        belongs: as for ``Watcher``.
        obstacle: why they cannot be followed after all, such as a filter that decides what is found; None if they can.
    """

    changes: Changes
    belongs: Callable[[Any], bool]
    obstacle: str | None = None


def follow(living: LivingCalibration) -> Callable[[], None]:
    """Let a living calibration be told of all changes of the stores that its sources search.

    Args:
        living: the calibration.

    Returns:
        A function that ends it.

    Raises:
        InvalidInputError: if no store tells of its changes, or a filter decides which documents count.

    Warns:
        StaleCalibrationWarning: if some stores do not.
    """
    found = {modality: getattr(source, "changes", None) for modality, source in living.sources.items()}
    for modality, one in found.items():
        if one is not None and one.obstacle is not None:
            raise InvalidInputError(
                f"changes of modality {modality!r} cannot be followed: {one.obstacle}; make a retriever without it, or "
                f"tell the calibration yourself (LivingCalibration.added, .removed)"
            )
    silent = [modality for modality, one in found.items() if one is None]
    if len(silent) == len(found):
        raise InvalidInputError(
            f"none of the stores tells of its changes (modalities {', '.join(map(repr, silent))}); wrap each in a "
            f"LiveVectorStore and give that to the index and to the retriever, use a commonscale.index.FaissIndex, or "
            f"tell the calibration yourself (LivingCalibration.added, .removed)"
        )
    for modality in silent:
        warn(
            f"changes of modality {modality!r} are not seen: its {store_name(living.sources[modality])} does not tell "
            f"of them; wrap it in a LiveVectorStore, or tell the calibration yourself",
            StaleCalibrationWarning,
        )
    told = [one.changes.watch(Watcher(living, m, one.belongs)) for m, one in found.items() if one is not None]

    def end() -> None:
        for stop in told:
            stop()

    return end


def _tell(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 (the store has changed, whatever its search or the calibration says)
        warn(
            f"the store has changed, but the calibration could not be kept up to date ({described(error)}); it makes "
            f"up for it with the next change, or calibrate anew",
            StaleCalibrationWarning,
        )
