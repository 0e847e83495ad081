"""Embedding one partition: reading, batches, failures, and one part in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core.types import IMAGE, TEXT, Modality, Vector
from commonscale.embedding.folder_entries import folder_entries, known_files
from commonscale.embedding.items import Entry, Item
from commonscale.embedding.parquet_entries import parquet_entries
from commonscale.embedding.parquet_rows import RowReader
from commonscale.embedding.part_file import PartHeader, read_batches, read_header, write_part
from commonscale.embedding.partitions import FilesWork, Partition
from commonscale.embedding.records import ShardBatch, ShardFailure
from commonscale.embedding.reporting import batch_size_of, embed_reporting
from commonscale.embedding.storage import may_pass
from commonscale.embedding.texts import Chunker

if TYPE_CHECKING:
    from commonscale.encoders import Encoder

SLICE = 8
"""Batches handed to the encoder at once: enough for it to read ahead and to sort texts by length, few enough to stop
soon and to hold no more than so many pictures' bytes."""


class PartitionEmbedder:
    """Embeds partitions one after the other; a context manager, which closes the file that is being read."""

    def __init__(
        self,
        encoder: Encoder,
        folder: Path,
        *,
        stop: Callable[[], bool] = lambda: False,
        advance: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            encoder: embeds texts and pictures.
            folder: where parts are written.
            stop: asked after every slice; once it says True, the partition in hand is given up.
            advance: told how many more files or rows are done.
        """
        self._encoder = encoder
        self._folder = folder
        self._stop = stop
        self._advance = advance
        limit, count = getattr(encoder, "max_tokens", None), getattr(encoder, "count_tokens", None)
        self._chunker = None if limit is None or count is None else Chunker(count, limit)
        self._slice = SLICE * batch_size_of(encoder)
        self._closing = ExitStack()
        self._reader: RowReader | None = None

    def __enter__(self) -> PartitionEmbedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()

    def embed(self, partition: Partition, previous: Path | None = None) -> PartHeader | None:
        """Embed a partition and write its part.

        Args:
            partition: what to embed.
            previous: the part of the same files or rows that an earlier run wrote: vectors of unchanged ones are taken
                over. It may be the very part that is to be written, to try again what failed.

        Returns:
            What the part says of itself; None if the run is to stop, and nothing was written.

        Raises:
            EncoderError: if the encoder cannot be used; nothing was written.
            FileFormatError: if ``previous`` is damaged.
        """
        gathered = _Gathered(self._encoder)
        entries = 0
        for entry in self._entries(partition, previous):
            gathered.take(entry)
            entries += 1
            if gathered.waiting >= self._slice:
                gathered.flush()
                self._advance(entries)
                entries = 0
                if self._stop():
                    return None
        gathered.flush()
        planned = partition.planned
        header = write_part(
            self._folder / planned.part,
            gathered.batch(),
            fingerprint=self._encoder.fingerprint,
            failures=tuple(gathered.failures),
            items=planned.items,
        )
        self._advance(entries)
        return header

    def _entries(self, partition: Partition, previous: Path | None) -> Iterator[Entry]:
        work = partition.work
        same = previous is not None and previous.name == partition.planned.part
        if isinstance(work, FilesWork):
            before = list(self._items_of(previous)) if previous is not None else []
            entries = folder_entries(work, self._chunker, known_files(iter(before)))
            return _taken_over(entries, before, pictures=False)
        if self._reader is None:
            self._reader = self._closing.enter_context(RowReader())
        entries = parquet_entries(work, self._chunker, self._reader)
        return _taken_over(entries, list(self._items_of(previous)), pictures=True) if previous and same else entries

    def _items_of(self, part: Path) -> Iterator[Item]:
        if read_header(part).encoder_fingerprint != self._encoder.fingerprint:
            return
        for batch in read_batches(part, 1000):
            columns = (batch.ids, batch.modalities, batch.texts, batch.paths, batch.metadata, batch.vectors)
            for key, modality, text, path, metadata, vector in zip(*columns, strict=True):
                yield Item(key, modality, text, path, metadata, vector)


def _taken_over(entries: Iterator[Entry], before: Sequence[Item], *, pictures: bool) -> Iterator[Entry]:
    """Give items the vectors that an earlier run has for the same id and words.

    Args:
        entries: what files or rows gave.
        before: what the earlier run embedded.
        pictures: whether a picture of the same id is the same.
    """
    known = {item.id: item for item in before}

    def whole(item: Item | ShardFailure) -> Item | ShardFailure:
        found = known.get(item.id)
        if found is None or isinstance(item, ShardFailure) or item.vector is not None:
            return item
        same = (found.modality, found.text) == (item.modality, item.text) and (pictures or item.modality == TEXT)
        return replace(item, vector=found.vector) if same else item

    for entry in entries:
        yield [whole(item) for item in entry]


class _Gathered:
    """The items of a partition: those with vectors in the order of the corpus, and those that wait for theirs."""

    def __init__(self, encoder: Encoder) -> None:
        self.failures: list[ShardFailure] = []
        self._encoder = encoder
        self._ids: set[str] = set()
        self._number = 0
        self._done: list[tuple[int, Item, Vector]] = []
        self._waiting: list[tuple[int, Item]] = []

    @property
    def waiting(self) -> int:
        """How many items wait for their vectors."""
        return len(self._waiting)

    def take(self, entry: Entry) -> None:
        """Take what one file or row gave."""
        for item in entry:
            if isinstance(item, ShardFailure):
                self.failures.append(ShardFailure(_writable(item.id), _writable(item.reason), item.transient))
                continue
            problem = self._problem(item)
            if problem is not None:
                self.failures.append(ShardFailure(_writable(item.id), _writable(problem)))
                continue
            self._ids.add(item.id)
            self._number += 1
            if item.vector is None:
                self._waiting.append((self._number, item))
            else:
                self._done.append((self._number, _without_picture(item), item.vector))

    def _problem(self, item: Item) -> str | None:
        if item.id in self._ids:
            return "its id comes twice; give every item its own"
        for value in (item.id, item.path or "", item.text):
            if _writable(value) != value:
                return f"not valid Unicode: {_writable(value)[:80]!r}; rename or convert it"
        return None

    def flush(self) -> None:
        """Embed what waits."""
        for modality in dict.fromkeys(item.modality for _, item in self._waiting):
            self._embed(modality, [pair for pair in self._waiting if pair[1].modality == modality])
        self._waiting = []

    def _embed(self, modality: Modality, pairs: Sequence[tuple[int, Item]]) -> None:
        found = embed_reporting(self._encoder, modality == IMAGE, [item.content for _, item in pairs])
        for index, reason, error in found.failures:
            self.failures.append(ShardFailure(pairs[index][1].id, _writable(reason), may_pass(error)))
        for row, index in enumerate(found.kept):
            number, item = pairs[index]
            # The picture itself is not needed any more.
            self._done.append((number, _without_picture(item), found.vectors[row]))

    def batch(self) -> ShardBatch:
        """Give all that has a vector, in the order of the corpus."""
        rows = sorted(self._done, key=lambda row: row[0])
        items: list[Any] = [item for _, item, _ in rows]
        vectors = [vector for _, _, vector in rows]
        return ShardBatch(
            ids=[item.id for item in items],
            modalities=[item.modality for item in items],
            vectors=np.stack(vectors) if vectors else np.empty((0, self._encoder.dimension), np.float32),
            texts=[item.text for item in items],
            paths=[item.path for item in items],
            metadata=[item.metadata for item in items],
        )


def _without_picture(item: Item) -> Item:
    return Item(item.id, item.modality, item.text, item.path, item.metadata)


def _writable(text: str) -> str:
    """Replace what UTF-8 cannot hold, such as parts of file names that are no valid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()
