"""How a corpus is cut into partitions, the units that are embedded, written and, after a crash, done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from commonscale.core.types import Modality

PARTITION_SIZE = 1000
"""Files or rows in a partition, unless the first run says otherwise."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a partition: its id (path relative to the folder), what it is, and what tells that it has changed."""

    id: str
    modality: Modality
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class FilesWork:
    """Pictures and texts of a folder.

    Attributes:
        root: the folder.
        files: which of its files, ordered by id.
    """

    root: str
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a Parquet file are what; None if there is none, and all others are metadata."""

    id: str | None
    text: str | None
    image: str | None


@dataclass(frozen=True, slots=True)
class RowsWork:
    """A range of rows of a Parquet file.

    Attributes:
        path: the file.
        name: its path relative to the corpus.
        start: first row.
        stop: row after the last.
        columns: what is read.
    """

    path: str
    name: str
    start: int
    stop: int
    columns: Columns


@dataclass(frozen=True, slots=True)
class Planned:
    """A partition as the manifest knows it: which one it is, a digest of its items, and how many there are."""

    slot: str
    digest: str
    items: int

    @property
    def part(self) -> str:
        """Name of the file that its vectors are written to."""
        return f"part-{self.slot}-{self.digest}.parquet"


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition with all that is needed to embed it, here or on another machine."""

    planned: Planned
    work: FilesWork | RowsWork

    def dumps(self) -> str:
        """Render as JSON; pure ASCII, so that file names that are no valid Unicode survive."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Partition:
        """Parse what ``dumps`` gave."""
        entry = json.loads(text)
        work = entry["work"]
        planned = Planned(**entry["planned"])
        if "root" in work:
            return cls(planned, FilesWork(work["root"], tuple(FileEntry(**file) for file in work["files"])))
        return cls(planned, RowsWork(**{**work, "columns": Columns(**work["columns"])}))


class Corpus(Protocol):
    """Something to embed."""

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of it, in sentences: what was passed over."""
        ...

    def describe(self) -> dict[str, Any]:
        """Give what the manifest records: kind, path, and how it is cut."""
        ...

    def plan(self, fingerprint: str) -> list[Planned]:
        """Give all partitions for an encoder, in order."""
        ...

    def partitions(self, wanted: Sequence[Planned]) -> Iterator[Partition]:
        """Give some of the planned partitions with all that is needed to embed them, in order."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


def digest_of(*facts: object) -> str:
    """Give 16 hexadecimal digits that differ when any of the facts, which JSON can hold, does."""
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
