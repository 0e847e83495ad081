"""Documents and their vectors, by modality, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from commonscale.core.calibration import Provenance
from commonscale.core.changes import Changes
from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.core.pages import PAGE, Page, check_size
from commonscale.core.question_vectors import question_rows
from commonscale.core.types import Candidates, Modality, Question, Vector
from commonscale.index.document import Document, checked
from commonscale.index.locks import ReadWriteLock
from commonscale.index.shard import VectorShard
from commonscale.index.source import IndexSource
from commonscale.index.vectors import document_rows


class MemoryIndex:
    """Documents of any modalities with their vectors: exact cosine search, in memory.

    Ids are unique in the whole index: adding an id again replaces the document, also if its modality is another
    one. Threads may search, add and delete at once: searches run together, a change waits for running searches
    and is then seen whole or not at all.

    Attributes:
        dimension: length of every vector.
        encoder_fingerprint: whose vectors they are, None if unknown.
        read_only: whether changes are refused.
        changes: who is told when documents come and go.
    """

    def __init__(self, dimension: int, *, encoder_fingerprint: str | None = None) -> None:
        """Make an empty index.

        Args:
            dimension: length of the vectors, at least 1.
            encoder_fingerprint: the encoder's fingerprint; vectors of another one will be refused.

        Raises:
            InvalidInputError: if the dimension cannot be used.
        """
        if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1:
            raise InvalidInputError(f"dimension must be an integer >= 1, got {dimension!r}")
        self.dimension = dimension
        self.encoder_fingerprint = encoder_fingerprint
        self.read_only = False
        self.changes = Changes()
        self._documents: dict[str, Document] = {}
        self._shards: dict[Modality, VectorShard] = {}
        self._documents_changed = False
        self._lock = ReadWriteLock()

    def add(
        self, documents: Sequence[Document], vectors: npt.ArrayLike, *, encoder_fingerprint: str | None = None
    ) -> None:
        """Add documents, or replace those with the same id: all of them, or none if one cannot be used.

        A replaced document keeps its place in the order that breaks ties, unless its modality changes.

        Args:
            documents: the documents, with different ids.
            vectors: shape (n, dimension), any real dtype; rows are scaled to norm 1.
            encoder_fingerprint: whose vectors they are, if known.

        Raises:
            InvalidInputError: if shapes, a document or a vector cannot be used, or an id comes twice.
            EncoderMismatchError: if the index holds vectors of another encoder.
        """
        self._check_writable()
        copies = [checked(document) for document in documents]
        ids = [document.id for document in copies]
        if len(set(ids)) != len(ids):
            twice = next(key for at, key in enumerate(ids) if key in ids[:at])
            raise InvalidInputError(f"document id {twice!r} comes twice in one add(); give every document its own id")
        rows = document_rows(vectors, self.dimension, ids)
        with self.changes.turns.turn():
            memory = self.changes.remember(ids)
            self._put(copies, rows, encoder_fingerprint)
            self.changes.added(ids, rows, [document.modality for document in copies], memory)

    def _put(self, copies: Sequence[Document], rows: Vector, encoder_fingerprint: str | None) -> None:
        ids = [document.id for document in copies]
        with self._lock.writing():
            self._check_encoder(encoder_fingerprint)
            moved = [d.id for d in copies if d.id in self._documents and self._documents[d.id].modality != d.modality]
            self._remove(moved)
            for modality in dict.fromkeys(document.modality for document in copies):
                at = [place for place, document in enumerate(copies) if document.modality == modality]
                shard = self._shards.setdefault(modality, VectorShard(self.dimension))
                shard.put([ids[place] for place in at], rows[at])
            self._documents.update(zip(ids, copies, strict=True))
            self._documents_changed = self._documents_changed or bool(ids)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents by id; ids that are not here are passed over.

        Returns:
            How many were deleted.
        """
        self._check_writable()
        if isinstance(ids, str):
            raise InvalidInputError(f"delete() takes a list of ids, got the text {ids!r}; give [{ids!r}]")
        wanted = list(ids)
        with self.changes.turns.turn():
            memory = self.changes.remember(wanted)
            with self._lock.writing():
                count = self._remove(wanted)
            self.changes.removed(wanted, memory)
        return count

    def _remove(self, ids: Iterable[str]) -> int:
        gone = {key for key in ids if key in self._documents}
        for shard in self._shards.values():
            shard.remove(gone)
        for key in gone:
            del self._documents[key]
        self._documents_changed = self._documents_changed or bool(gone)
        return len(gone)

    def search(self, questions: Sequence[Question], modality: Modality, k: int) -> list[Candidates]:
        """Find the k documents of one modality that are closest to each question, in one FAISS call.

        Exact. Ties go to the document that was added first. One question and many give the same cosines.

        Args:
            questions: any number.
            modality: which one; without documents it gives no hits.
            k: hits per question, at least 1.

        Returns:
            One Candidates per question with ``min(k, documents)`` hits: true cosines, Documents as payloads.

        Raises:
            InvalidInputError: if ``k`` or a question's vector cannot be used.
        """
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InvalidInputError(f"k must be an integer >= 1, got {k!r}")
        if not questions:
            return []
        vectors = question_rows(questions, modality, self.dimension)
        with self._lock.reading():
            shard = self._shards.get(modality)
            if shard is None or not len(shard):
                return [Candidates([], np.empty(0)) for _ in questions]
            rows, cosines = shard.search(vectors, int(k))
            found = [[shard.ids[row] for row in hits] for hits in rows.tolist()]
            payloads = [[self._documents[key] for key in ids] for ids in found]
        return [Candidates(ids, c, p) for ids, c, p in zip(found, cosines, payloads, strict=True)]

    def source(self, modality: Modality) -> IndexSource:
        """Give one modality as a source of a joint search; it may have no documents yet."""
        return IndexSource(self, modality)

    def sources(self) -> dict[Modality, IndexSource]:
        """Give every modality that has documents as a source."""
        return {modality: self.source(modality) for modality in self.modalities}

    def provenance(self) -> dict[Modality, Provenance]:
        """Say where each modality's cosines come from, for ``JointSearch`` and ``Calibration``."""
        return {m: Provenance(self.encoder_fingerprint, self.dimension, "cosine") for m in self.modalities}

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that have documents, in order of first insertion."""
        with self._lock.reading():
            return [modality for modality, shard in self._shards.items() if len(shard)]

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, key: object) -> bool:
        return key in self._documents

    def get(self, key: str) -> Document | None:
        """Give the document with this id, None if there is none."""
        return self._documents.get(key)

    def documents(self, modality: Modality | None = None) -> list[Document]:
        """List the documents, of one modality or of all, each modality in order of insertion."""
        with self._lock.reading():
            shards = self._shards if modality is None else {m: s for m, s in self._shards.items() if m == modality}
            return [self._documents[key] for shard in shards.values() for key in shard.ids]

    def vectors(self, ids: Sequence[str]) -> Vector:
        """Give the stored unit vectors (n, dimension) of documents, float32.

        Raises:
            InvalidInputError: if an id is not in the index.
        """
        with self._lock.reading():
            unknown = [key for key in ids if key not in self._documents]
            if unknown:
                raise InvalidInputError(f"no document has the id {unknown[0]!r} ({len(unknown)} unknown ids)")
            found = np.empty((len(ids), self.dimension), dtype=np.float32)
            for modality, shard in self._shards.items():
                at = [place for place, key in enumerate(ids) if self._documents[key].modality == modality]
                found[at] = shard.vectors([ids[place] for place in at])
            return found

    def scan(self, modality: Modality, size: int = PAGE) -> Iterator[Page]:
        """Yield the ids and stored unit vectors of one modality's documents, in order of insertion.

        Changes may go on meanwhile: what is deleted before its page comes is left out, what is added is not seen.

        Args:
            modality: which one.
            size: most documents of a page.

        Raises:
            InvalidInputError: if ``size`` is no number of at least 1.
        """
        step = check_size(size)
        with self._lock.reading():
            shard = self._shards.get(modality)
            known = [] if shard is None else list(shard.ids)
        return self._pages(modality, known, step)

    def _pages(self, modality: Modality, known: list[str], size: int) -> Iterator[Page]:
        for start in range(0, len(known), size):
            with self._lock.reading():
                documents = self._documents
                ids = [i for i in known[start : start + size] if i in documents and documents[i].modality == modality]
                vectors = self._shards[modality].vectors(ids)
            if ids:
                yield ids, vectors

    def _check_writable(self) -> None:
        if self.read_only:
            raise InvalidInputError("this index was opened with mmap=True, so it is read-only; open it with mmap=False")

    def _check_encoder(self, fingerprint: str | None) -> None:
        if fingerprint is None or fingerprint == self.encoder_fingerprint:
            return
        if self.encoder_fingerprint is None and not self._documents:
            self.encoder_fingerprint = fingerprint
        elif self.encoder_fingerprint is not None:
            raise EncoderMismatchError(
                f"this index holds vectors of the encoder {self.encoder_fingerprint!r}, got vectors of "
                f"{fingerprint!r}; use the same encoder, or make a new index"
            )
