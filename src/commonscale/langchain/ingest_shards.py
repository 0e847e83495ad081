"""Putting shards of ready vectors into LangChain stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document

from commonscale.core.cosines import Converter
from commonscale.core.types import Modality, Vector
from commonscale.langchain.documents import IMAGE_PATH_KEY
from commonscale.langchain.ingest_batch import Batch
from commonscale.langchain.ingest_stores import way_of
from commonscale.langchain.ingest_target import check_store
from commonscale.stores.ingest import Plan
from commonscale.stores.ingest_shards import open_if_folder, put_shards, wanted
from commonscale.stores.shard_documents import Loaded, Naming

if TYPE_CHECKING:
    from commonscale.embedding import Shards


def add_embedded(
    store: Any,
    shards: Shards | str | os.PathLike[str],
    *,
    modality: Modality | None = None,
    modality_key: str = "modality",
    batch_size: int = 1000,
    show_progress: bool = False,
    score_kind: str | Converter | None = None,
) -> dict[Modality, int]:
    """Put the documents of shards into a vector store with the vectors that they have; nothing is embedded.

    The documents are those that ``add_texts`` and ``add_images`` make of the same texts and pictures; the file that a
    text was read from is under ``"source"`` in the metadata. Ids are those of the shards. A store that takes only UUIDs
    (Qdrant, Weaviate, mostly PGVectorStore), or keeps ids once for all of its collections (PGVector), gets UUIDs made
    from them, and the original under ``"commonscale_id"`` in the metadata. Loading the same shards again replaces what
    is there: one copy of each is left. Memory holds one batch, however large the corpus is.

    Args:
        store: see ``add_texts``; it needs no embeddings of its own.
        shards: the folder that ``commonscale embed`` wrote, or what ``commonscale.embedding.open_shards`` returned.
        modality: only these documents, for a store of one modality; None puts all of them into a mixed store.
        modality_key: metadata key that says what a document is.
        batch_size: documents read and written together.
        show_progress: show a progress bar on stderr.
        score_kind: what the store's scores mean, for stores that are not known.

    Returns:
        How many documents were put in, by modality.

    Raises:
        InvalidInputError: if an argument cannot be used, the shards are not complete or have nothing of this modality,
            or the vectors are not of the store's length.
        EncoderMismatchError: if the store, an index of Commonscale's, holds vectors of another encoder.
        UnknownScoreKindError: if no cosine can be made of the store's numbers.
        SourceUnavailableError: if the store cannot be asked.
        FileFormatError: if a shard is damaged.
        IngestError: if reading or writing failed half-way; its message names the batch and says how much is in (its
            ``stored`` is empty: a corpus may have more ids than memory should hold).
        MissingExtraError: if pyarrow is not installed.
    """
    opened = open_if_folder(shards)
    way = way_of(store)
    dimension = None
    for kind in wanted(opened, modality):
        dimension = check_store(store, way, kind, score_kind)
    plan = Plan(type(store).__name__, dimension, batch_size, show_progress, "document")
    naming = Naming(modality_key, way.uuids or way.usually_uuids, way.place(store))

    def write(kind: Modality, documents: list[Loaded], rows: Vector) -> None:
        made = [_document(document) for document in documents]
        way.write(store, Batch(made, rows, kind, modality_key, opened.fingerprint))

    return put_shards(opened, modality, naming, write, plan, first_decides=way.first_decides)


def _document(loaded: Loaded) -> Document:
    """Make the document that ``add_texts`` or ``add_images`` would."""
    metadata = dict(loaded.metadata)
    if loaded.picture is not None:
        kept = {IMAGE_PATH_KEY: loaded.picture.path, "image_url": loaded.picture.url}
        metadata |= {key: value for key, value in kept.items() if value is not None}
    return Document(loaded.text, id=loaded.id, metadata=metadata)
