"""Putting texts and images into LlamaIndex stores with what true cosines need."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, TextNode
from llama_index.core.storage.docstore.types import BaseDocumentStore

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality, Vector
from commonscale.llama_index.assembly import EmbedModel, as_embedding
from commonscale.llama_index.embedding import NO_IMAGES
from commonscale.llama_index.ingest_nodes import image_node, text_node
from commonscale.llama_index.ingest_stores import Labels
from commonscale.llama_index.ingest_target import Target
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY
from commonscale.llama_index.restriction import TYPE_KEY
from commonscale.llama_index.sources import ScoreKindName
from commonscale.stores.ingest import Embed, Embedded, Entry, Plan, as_list, check_count, labeled, put
from commonscale.stores.ingest_ids import check_uuids, distinct, given_ids, id_of
from commonscale.stores.ingest_pictures import PictureReader, pictures_of

_MOST_AT_ONCE = 2048
"""What LlamaIndex allows as ``embed_batch_size``."""


def add_texts(
    store: Any,
    texts: Sequence[str | BaseNode],
    embed_model: EmbedModel,
    *,
    ids: Sequence[str] | None = None,
    metadatas: Sequence[Mapping[str, Any]] | None = None,
    docstore: BaseDocumentStore | None = None,
    modality: Modality = TEXT,
    modality_key: str = DEFAULT_MODALITY_KEY,
    batch_size: int = 128,
    show_progress: bool = False,
    score_kind: ScoreKindName | None = None,
) -> list[str]:
    """Embed texts and put them into a vector store, as unit vectors labeled with their modality.

    With vectors of norm 1, inner product, Euclidean distance and cosine all rank alike, so that whatever the store
    compares by, true cosines can be had. A store that compares otherwise is refused before anything is written.
    Putting the same items in again replaces them: one copy of each id is left, with the new content.

    Args:
        store: any LlamaIndex vector store, a ``commonscale.index.FaissIndex`` (to be saved by you), or a
            ``VectorStoreIndex`` over a store that keeps only vectors.
        texts: strings, which are embedded as they are, without their metadata; or nodes, which are embedded as they
            say themselves, unless they have an embedding. Nodes are copied.
        embed_model: a LlamaIndex embedding model, or an encoder of Commonscale's.
        ids: an id for each; by default a node's own, and for a string a UUID made from modality and text.
        metadatas: metadata for each; those of a node are added to its own.
        docstore: where nodes go too; needed by stores that keep only vectors.
        modality: what the items are.
        modality_key: metadata key that says so; ``"_node_type"`` leaves it to the node's class.
        batch_size: items embedded and written together.
        show_progress: show a progress bar on stderr.
        score_kind: what the store's scores are, for stores that are not known.

    Returns:
        The id of each text, in order. Equal texts have one id, and are stored once.

    Raises:
        InvalidInputError: if an argument cannot be used, or vectors are null or not of the store's length.
        UnknownScoreKindError: if no cosine can be made of the store's numbers.
        SourceUnavailableError: if the store cannot be asked.
        IngestError: if embedding or writing failed; its message says what is in.
    """
    job = _Job(store, docstore, modality, modality_key, embed_model, batch_size)
    given = as_list(texts, "text")
    chosen = given_ids(ids, len(given))
    if metadatas is not None:
        metadatas = as_list(metadatas, "metadata")
        check_count("metadatas", metadatas, len(given))
        metadatas = [_joined(item, metadata) for item, metadata in zip(given, metadatas, strict=True)]
    else:
        metadatas = [_joined(item, {}) for item in given]
    labels = labeled(metadatas, len(given), modality, job.labels.key)
    entries = []
    for place, (item, metadata) in enumerate(zip(given, labels, strict=True)):
        node = text_node(item, place, metadata, job.labels.key)
        if chosen is not None:
            node.id_ = chosen[place]
        elif not isinstance(item, BaseNode):
            node.id_ = id_of(modality, item)
        entries.append(Entry(node.node_id, node, node, f"texts[{place}]"))
    plan = job.plan(entries, "text", show_progress, score_kind)
    put(distinct(entries, _same, given=chosen is not None), _text_embedder(job.model), job.write, plan)
    return [entry.id for entry in entries]


def add_images(
    store: Any,
    images: Sequence[str | os.PathLike[str] | bytes],
    embed_model: EmbedModel,
    *,
    captions: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    metadatas: Sequence[Mapping[str, Any]] | None = None,
    docstore: BaseDocumentStore | None = None,
    store_base64: bool = False,
    modality_key: str = DEFAULT_MODALITY_KEY,
    batch_size: int = 64,
    show_progress: bool = False,
    score_kind: ScoreKindName | None = None,
) -> list[str]:
    """Embed images and put them into a vector store as ``ImageNode`` with their path or URL.

    As ``add_texts`` in every other respect. Images that cannot be read are left out, with a warning that names them.

    Args:
        store: see ``add_texts``.
        images: paths, http(s) URLs if the model reads them, contents of picture files, data URIs or base64.
        embed_model: a LlamaIndex embedding model with ``get_image_embedding_batch``, or an encoder of Commonscale's.
        captions: a text for each, kept as the node's text; it is not embedded.
        ids: an id for each; by default a UUID made from the path or URL as it is given, or from the contents.
        metadatas: metadata for each.
        docstore: where nodes go too; needed by stores that keep only vectors.
        store_base64: write pictures that were given without path or URL into the store; otherwise they are refused.
        modality_key: see ``add_texts``.
        batch_size: items embedded and written together.
        show_progress: show a progress bar on stderr.
        score_kind: see ``add_texts``.

    Returns:
        The ids of the images that are in, in order.

    Raises:
        InvalidInputError: as ``add_texts``; also if the model reads no images.
        UnknownScoreKindError: as ``add_texts``.
        SourceUnavailableError: as ``add_texts``.
        IngestError: as ``add_texts``.

    Warns:
        SkippedImageWarning: if images could not be read.
    """
    job = _Job(store, docstore, IMAGE, modality_key, embed_model, batch_size)
    pictures = pictures_of(as_list(images, "image"), store_base64)
    texts = [""] * len(pictures) if captions is None else as_list(captions, "caption")
    check_count("captions", texts, len(pictures))
    chosen = given_ids(ids, len(pictures)) or [id_of(IMAGE, picture.identity) for picture in pictures]
    labels = labeled(metadatas, len(pictures), IMAGE, job.labels.key)
    entries = [
        Entry(key, picture, image_node(key, picture, caption, metadata, job.labels.key), picture.name)
        for key, picture, caption, metadata in zip(chosen, pictures, texts, labels, strict=True)
    ]
    plan = job.plan(entries, "image", show_progress, score_kind)
    embed = getattr(job.model, "get_image_embedding_batch", None)
    if not callable(embed):
        raise InvalidInputError(NO_IMAGES.format(type(job.model).__name__))
    reader = PictureReader(embed)
    stored = set(put(distinct(entries, _same, given=ids is not None), reader, job.write, plan))
    reader.warn()
    return [entry.id for entry in entries if entry.id in stored]


@dataclass
class _Job:
    """One call: where nodes go, and what embeds them."""

    store: Any
    docstore: BaseDocumentStore | None
    modality: Modality
    modality_key: str
    embed_model: EmbedModel
    batch_size: int

    def __post_init__(self) -> None:
        self.target = Target(self.store, self.docstore)
        model = self.embed_model
        self.model: BaseEmbedding = as_embedding(model)
        if self.model is not model:
            self.model = self.model.model_copy(update={"embed_batch_size": min(self.batch_size, _MOST_AT_ONCE)})
        named = getattr(self.model, "fingerprint", None)
        key = None if self.modality_key == TYPE_KEY else self.modality_key
        self.labels = Labels(self.modality, key, named if isinstance(named, str) else None)

    def plan(self, entries: Sequence[Entry], unit: str, shown: bool, score_kind: ScoreKindName | None) -> Plan:
        """Check the store and the ids."""
        if self.target.way.uuids:
            check_uuids([entry.id for entry in entries], self.target.name)
        return Plan(self.target.name, self.target.check(self.labels, score_kind), self.batch_size, shown, unit)

    def write(self, entries: list[Entry], rows: Vector) -> None:
        """Write nodes with their unit vectors."""
        vectors = zip(entries, rows.tolist(), strict=True)
        nodes = [entry.payload.model_copy(update={"embedding": vector}) for entry, vector in vectors]
        self.target.write(nodes, self.labels)


def _joined(item: Any, metadata: Any) -> Any:
    if isinstance(item, BaseNode) and isinstance(metadata, Mapping):
        return {**item.metadata, **metadata}
    return metadata


def _text_embedder(model: BaseEmbedding) -> Embed:
    """Embed what nodes say of themselves; vectors that they have already are taken."""

    def embed(nodes: list[TextNode]) -> Embedded:
        missing = [node for node in nodes if node.embedding is None]
        texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in missing]
        found = model.get_text_embedding_batch(texts) if texts else []
        if len(found) != len(texts):
            raise InvalidInputError(f"{type(model).__name__} gave {len(found)} vectors for {len(texts)} texts")
        fresh = iter(found)
        return Embedded(range(len(nodes)), [next(fresh) if n.embedding is None else n.embedding for n in nodes])

    return embed


def _same(one: TextNode | ImageNode, other: TextNode | ImageNode) -> bool:
    return (one.text, one.metadata) == (other.text, other.metadata)
