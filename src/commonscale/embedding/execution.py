"""Where partitions are embedded: here, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from commonscale.embedding.embedder import PartitionEmbedder
from commonscale.embedding.partitions import Partition, Planned

if TYPE_CHECKING:
    from commonscale.encoders import Encoder


class Identity(NamedTuple):
    """What vectors an encoder makes."""

    fingerprint: str
    dimension: int


class Task(NamedTuple):
    """A partition to embed, and the part of the same files or rows that an earlier run wrote, if there is one."""

    partition: Partition
    previous: Path | None


class Execution(Protocol):
    """Embeds partitions: a context manager."""

    def __enter__(self) -> Execution: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def identity(self) -> Identity:
        """Say what vectors it makes."""
        ...

    def run(self, tasks: Iterable[Task]) -> Iterator[Planned]:
        """Embed partitions, telling of each whose part has been written; ends early when it is to stop."""
        ...


class LocalExecution:
    """One encoder in this process."""

    def __init__(
        self, encoder: Encoder, folder: Path, stop: Callable[[], bool], advance: Callable[[int], object]
    ) -> None:
        self._encoder = encoder
        self._stop = stop
        self._embedder = PartitionEmbedder(encoder, folder, stop=stop, advance=advance)

    def __enter__(self) -> LocalExecution:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._embedder.__exit__(kind, error, traceback)

    def identity(self) -> Identity:
        """Say what vectors it makes."""
        return Identity(self._encoder.fingerprint, self._encoder.dimension)

    def run(self, tasks: Iterable[Task]) -> Iterator[Planned]:
        """Embed partitions, telling of each whose part has been written; ends early when it is to stop."""
        for partition, previous in tasks:
            if self._stop() or self._embedder.embed(partition, previous) is None:
                return
            yield partition.planned
