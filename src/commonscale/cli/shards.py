"""``index`` and ``calibrate`` for shards of embeddings: nothing of the corpus is embedded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from commonscale.cli.console import say
from commonscale.cli.renewing import renew
from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.embedding import Shards, open_shards
from commonscale.embedding.records import ShardBatch
from commonscale.encoders import BatchedEncoder
from commonscale.index import Document, FaissIndex
from commonscale.index.document import checked
from commonscale.index.opening import (
    ENCODER,
    FOLDER,
    check_folder,
    encoder_for,
    encoder_name,
    has_index,
    load,
    open_index,
)


def index_shards(folder: Path, out: Path, encoder: str | None, device: str | None) -> int:
    """Load shards into an index, or bring the index up to date with them.

    Args:
        folder: the shards.
        out: where the index is kept.
        encoder: where the encoder is now, if it has moved or was not recorded.
        device: as for ``load_encoder``.

    Returns:
        The exit code: 0.

    Raises:
        CommonscaleError: if shards or index cannot be used; what was saved before stays.
    """
    shards = open_shards(folder)
    if not len(shards):
        raise InvalidInputError(f"{folder}: the shards hold no documents, so there is nothing to index")
    shards.check_ids()
    index = _index_for(shards, folder.resolve(), out)
    with index.exclusive():
        name = encoder_name(encoder) if encoder is not None else shards.encoder_name
        index.set_note(FOLDER, str(folder.resolve()))
        if name is not None:
            index.set_note(ENCODER, name)
        if encoder is not None:
            encoder_for(index, encoder, device)
        filling = _Filling(index, shards)
        index.save()
        renew(index)
    say(
        f"Documents: {filling.added} added, {filling.changed} changed, {filling.removed} removed, "
        f"{filling.same} unchanged."
    )
    counts = ", ".join(f"{len(index.documents(modality))} {modality} documents" for modality in index.modalities)
    say(f"The index now holds {counts}.")
    if shards.failures:
        say(f"Of the corpus, {len(shards.failures)} items could not be embedded: 'commonscale embed' lists them.")
    return 0


def _index_for(shards: Shards, root: Path, out: Path) -> FaissIndex:
    if not has_index(out):
        return FaissIndex.create(out, shards.dimension, encoder_fingerprint=shards.fingerprint)
    index = open_index(out)
    check_folder(index, root)
    if index.encoder_fingerprint not in (None, shards.fingerprint):
        raise EncoderMismatchError(
            f"{out}: was made with the encoder {index.notes.get(ENCODER)!r} ({index.encoder_fingerprint}); the shards "
            f"in {root} are of {shards.encoder_name!r} ({shards.fingerprint}); choose another folder with --out"
        )
    return index


class _Filling:
    """Makes an index mirror shards.

    Attributes:
        added: documents that the index had not.
        changed: documents that it had, with another content or vector.
        removed: documents that the shards do not have.
        same: documents that it had.
    """

    def __init__(self, index: FaissIndex, shards: Shards) -> None:
        self.added = self.changed = self.same = 0
        self._index = index
        self._seen: set[str] = set()
        for batch in shards.batches():
            self._take(batch, shards)
        self.removed = index.delete([doc.id for doc in index.documents() if doc.id not in self._seen])

    def _take(self, batch: ShardBatch, shards: Shards) -> None:
        columns = (batch.ids, batch.modalities, batch.texts, batch.paths, batch.metadata)
        documents = [checked(Document(*values)) for values in zip(*columns, strict=True)]
        self._seen.update(document.id for document in documents)
        known = [row for row, document in enumerate(documents) if document.id in self._index]
        stored = self._index.vectors([documents[row].id for row in known])
        same = {
            row
            for row, vector in zip(known, stored, strict=True)
            if np.array_equal(vector, batch.vectors[row]) and self._index.get(documents[row].id) == documents[row]
        }
        self.same += len(same)
        self.changed += len(known) - len(same)
        self.added += len(documents) - len(known)
        fresh = [row for row in range(len(documents)) if row not in same]
        chosen = [documents[row] for row in fresh]
        self._index.add(chosen, batch.vectors[fresh], encoder_fingerprint=shards.fingerprint)


def shards_to_calibrate(folder: Path) -> Shards:
    """Open shards that there is something to find in.

    Raises:
        InvalidInputError: if they are not finished, hold nothing, or have an id twice.
        FileFormatError: if they are damaged.
    """
    shards = open_shards(folder)
    if not len(shards):
        raise InvalidInputError(f"{folder}: the shards hold no documents, so there is nothing to calibrate")
    shards.check_ids()
    return shards


def encoder_of(shards: Shards, given: str | None, device: str | None) -> BatchedEncoder:
    """Load the encoder that shards were made with.

    Args:
        shards: the shards.
        given: where the encoder is now; None takes the place that is recorded.
        device: as for ``load_encoder``.

    Raises:
        InvalidInputError: if nothing is recorded.
        EncoderMismatchError: if it is another encoder, naming both.
    """
    name = given or shards.encoder_name
    if name is None:
        raise InvalidInputError(f"{shards.folder}: does not record its encoder; name it with --encoder NAME_OR_PATH")
    encoder = load(name, device)
    if encoder.fingerprint != shards.fingerprint:
        raise EncoderMismatchError(
            f"{shards.folder}: was made with the encoder {shards.encoder_name!r} ({shards.fingerprint}); {name!r} is "
            f"another one ({encoder.fingerprint}); use the first"
        )
    return encoder
