"""Making an index mirror a folder, in batches, with saves on the way."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from commonscale.cli.plan import Plan
from commonscale.core.types import IMAGE, Vector
from commonscale.embedding.scan import FoundFile, Unreadable, file_facts, sha256_of
from commonscale.embedding.texts import Chunker, decode
from commonscale.index import Document, FaissIndex

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder

SAVE_EVERY = 30.0  # seconds between saves while indexing
SAVE_SHARE = 0.05  # of the time at most goes into saves, however large the index


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file that was read: its passages and its checksum."""

    file: FoundFile
    sha256: str
    passages: list[str]


@dataclass
class Done:
    """What a run did.

    Attributes:
        indexed: ids of the files that were embedded.
        unreadable: files that could not be.
    """

    indexed: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def files(self) -> int:
        """How many files are dealt with, well or badly."""
        return len(self.indexed) + len(self.unreadable)


def tidy(index: FaissIndex, plan: Plan) -> None:
    """Do what needs no encoder: remove what vanished, and note where unchanged files lie now."""
    index.delete(key for file in plan.vanished for key in plan.recorded[file])
    index.add(plan.refreshed, index.vectors([document.id for document in plan.refreshed]))


class FolderIndexer:
    """Brings an index up to date, file by file: at every save, a file is in it whole or not at all.

    Attributes:
        done: what has been done so far.
    """

    def __init__(
        self,
        index: FaissIndex,
        encoder: BatchedEncoder,
        plan: Plan,
        *,
        stop: Callable[[], bool],
        advance: Callable[[int], object],
    ) -> None:
        """Prepare a run.

        Args:
            index: the index; changed and saved.
            encoder: embeds texts and pictures.
            plan: what to do.
            stop: asked after every batch; once it says True, the run saves and ends.
            advance: told of every batch how many files are dealt with.
        """
        self.done = Done()
        self._index = index
        self._encoder = encoder
        self._plan = plan
        self._stop = stop
        self._advance = advance
        self._chunker = Chunker(encoder.count_tokens, encoder.max_tokens)
        self._batch = encoder.options.batch_size
        self._passages_at_once = 4 * self._batch
        self._next_save = time.monotonic() + SAVE_EVERY

    def run(self) -> None:
        """Embed what is new or has changed, and save: also after an error."""
        try:
            before = 0
            for _ in self._steps():
                self._advance(self.done.files - before)
                before = self.done.files
                if self._stop():
                    break
                self._save_if_due()
        except Exception:
            self._index.save()
            raise
        self._index.save()

    def _steps(self) -> Iterator[None]:
        """Embed batch after batch, pictures first; pause after each."""
        todo = self._plan.todo
        pictures = [file for file in todo if file.modality == IMAGE]
        for at in range(0, len(pictures), self._batch):
            self._embed_pictures(pictures[at : at + self._batch])
            yield
        for group in self._text_groups([file for file in todo if file.modality != IMAGE]):
            self._embed_texts(group)
            yield

    def _embed_pictures(self, files: Sequence[FoundFile]) -> None:
        sums: list[tuple[FoundFile, str]] = []
        for file in files:
            try:
                sums.append((file, sha256_of(file.path)))
            except OSError as error:
                self._fail(file, error.strerror or str(error), gone=False)
        batch = self._encoder.encode_images_reporting([file.path for file, _ in sums])
        for failure in batch.failures:
            self._fail(sums[failure.index][0], failure.reason, gone=True)
        kept = batch.pick(sums)
        documents = [Document(f.id, f.modality, path=str(f.path), metadata=file_facts(f, s)) for f, s in kept]
        self._store([file for file, _ in kept], documents, batch.vectors)

    def _text_groups(self, files: Sequence[FoundFile]) -> Iterator[list[TextFile]]:
        """Read and cut files, and gather them until there are passages for a few batches."""
        group: list[TextFile] = []
        for file in files:
            try:
                # Checksum and passages come from the same bytes.
                data = file.path.read_bytes()
                passages = self._chunker.chunks(decode(data), file.path)
                group.append(TextFile(file, hashlib.sha256(data).hexdigest(), passages))
            except (OSError, ValueError) as error:
                self._fail(file, getattr(error, "strerror", None) or str(error), gone=isinstance(error, ValueError))
            if sum(len(text.passages) for text in group) >= self._passages_at_once:
                yield group
                group = []
        # Also without a group: unreadable files at the end have still to be counted.
        yield group

    def _embed_texts(self, group: Sequence[TextFile]) -> None:
        documents = [document for text in group for document in _passages(text)]
        vectors = self._encode([document.text for document in documents])
        if vectors is not None:
            self._store([text.file for text in group], documents, vectors)

    def _encode(self, passages: Sequence[str]) -> Vector | None:
        """Embed passages; None if the run is to stop before a long file is through."""
        parts = [np.empty((0, self._encoder.dimension), dtype=np.float32)]
        for at in range(0, len(passages), self._passages_at_once):
            if at and self._stop():
                return None
            parts.append(self._encoder.encode_texts(passages[at : at + self._passages_at_once]))
        return np.concatenate(parts)

    def _store(self, files: Sequence[FoundFile], documents: Sequence[Document], vectors: Vector) -> None:
        fresh = {document.id for document in documents}
        old = {key for file in files for key in self._plan.recorded.get(file.id, ())}
        self._index.delete(old - fresh)
        self._index.add(documents, vectors, encoder_fingerprint=self._encoder.fingerprint)
        self.done.indexed.extend(file.id for file in files)

    def _fail(self, file: FoundFile, reason: str, *, gone: bool) -> None:
        if gone:
            self._index.delete(self._plan.recorded.get(file.id, ()))
        self.done.unreadable.append(Unreadable(file.id, reason, gone))

    def _save_if_due(self) -> None:
        start = time.monotonic()
        if start >= self._next_save:
            self._index.save()
            end = time.monotonic()
            self._next_save = end + max(SAVE_EVERY, (end - start) / SAVE_SHARE)


def _passages(text: TextFile) -> Iterator[Document]:
    """Make a document of each passage: ``notes.md``, or ``notes.md#1``, ``notes.md#2`` if there are several."""
    file, total = text.file, len(text.passages)
    for number, passage in enumerate(text.passages, start=1):
        key = file.id if total == 1 else f"{file.id}#{number}"
        facts = {**file_facts(file, text.sha256), "passage": number, "passages": total}
        yield Document(key, file.modality, text=passage, path=str(file.path), metadata=facts)
