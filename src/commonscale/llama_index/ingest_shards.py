"""Putting shards of ready vectors into LlamaIndex stores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.storage.docstore.types import BaseDocumentStore

from commonscale.core.types import Modality, Vector
from commonscale.llama_index.ingest_nodes import image_node
from commonscale.llama_index.ingest_stores import Labels
from commonscale.llama_index.ingest_target import Target
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY
from commonscale.llama_index.restriction import TYPE_KEY
from commonscale.llama_index.sources import ScoreKindName
from commonscale.stores.ingest import Plan
from commonscale.stores.ingest_shards import open_if_folder, put_shards, wanted
from commonscale.stores.shard_documents import Loaded, Naming

if TYPE_CHECKING:
    from commonscale.embedding import Shards


def add_embedded(
    store: Any,
    shards: Shards | str | os.PathLike[str],
    *,
    docstore: BaseDocumentStore | None = None,
    modality: Modality | None = None,
    modality_key: str = DEFAULT_MODALITY_KEY,
    batch_size: int = 1000,
    show_progress: bool = False,
    score_kind: ScoreKindName | None = None,
) -> dict[Modality, int]:
    """Put the documents of shards into a vector store with the vectors that they have; nothing is embedded.

    The nodes are those that ``add_texts`` and ``add_images`` make of the same texts and pictures; the file that a text
    was read from is under ``"source"`` in the metadata. Ids are those of the shards. A store that takes only UUIDs
    (Qdrant, Weaviate) gets UUIDs made from them, and the original under ``"commonscale_id"`` in the metadata. Loading
    the same shards again replaces what is there: one copy of each is left. Memory holds one batch, however large the
    corpus is, beside what a docstore or an index in memory keeps.

    Args:
        store: see ``add_texts``.
        shards: the folder that ``commonscale embed`` wrote, or what ``commonscale.embedding.open_shards`` returned.
        docstore: where nodes go too; needed by stores that keep only vectors.
        modality: only these documents, for a store of one modality; None puts all of them into a mixed store.
        modality_key: see ``add_texts``.
        batch_size: documents read and written together.
        show_progress: show a progress bar on stderr.
        score_kind: what the store's scores are, for stores that are not known.

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
    target = Target(store, docstore)
    key = None if modality_key == TYPE_KEY else modality_key
    kinds = wanted(opened, modality)
    dimension = None
    for kind in kinds:
        dimension = target.check(Labels(kind, key, opened.fingerprint), score_kind)
    plan = Plan(target.name, dimension, batch_size, show_progress, "document")

    def write(kind: Modality, documents: list[Loaded], rows: Vector) -> None:
        nodes = [_node(document, key) for document in documents]
        for node, vector in zip(nodes, rows.tolist(), strict=True):
            node.embedding = vector
        target.write(nodes, Labels(kind, key, opened.fingerprint))

    naming = Naming(key, uuids=target.way.uuids)
    return put_shards(opened, modality, naming, write, plan, first_decides=target.way.first_decides)


def _node(document: Loaded, key: str | None) -> BaseNode:
    """Make the node that ``add_texts`` or ``add_images`` would; what was added to its metadata is no text for LLMs."""
    if document.picture is not None:
        node: TextNode = image_node(document.id, document.picture, document.text, document.metadata, key)
        node.excluded_embed_metadata_keys = list(document.added)
    else:
        node = TextNode(id_=document.id, text=document.text, metadata=document.metadata)
        node.excluded_embed_metadata_keys = list(document.metadata)
    node.excluded_llm_metadata_keys = list(document.added)
    return node
