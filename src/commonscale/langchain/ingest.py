"""Putting texts and images into LangChain stores with what true cosines need."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality, Vector
from commonscale.langchain.documents import IMAGE_PATH_KEY
from commonscale.langchain.embeddings import NO_IMAGES, image_method
from commonscale.langchain.ingest_batch import Batch
from commonscale.langchain.ingest_stores import way_of
from commonscale.langchain.ingest_target import check_store
from commonscale.langchain.questions import as_embeddings
from commonscale.stores.ingest import Embedded, Entry, Plan, as_list, check_count, labeled, put
from commonscale.stores.ingest_ids import check_uuids, distinct, given_ids, id_of
from commonscale.stores.ingest_pictures import Picture, PictureReader, pictures_of


def add_texts(
    store: Any,
    texts: Sequence[str | Document],
    embeddings: Any = None,
    *,
    ids: Sequence[str] | None = None,
    metadatas: Sequence[Mapping[str, Any]] | None = None,
    modality: Modality = TEXT,
    modality_key: str = "modality",
    batch_size: int = 128,
    show_progress: bool = False,
    score_kind: str | Converter | None = None,
) -> list[str]:
    """Embed texts and put them into a vector store, as unit vectors labeled with their modality.

    With vectors of norm 1, inner product, Euclidean distance and cosine all rank alike, so that whatever the store
    compares by, true cosines can be had. A store that compares otherwise is refused before anything is written.
    Putting the same items in again replaces them: one copy of each id is left, with the new content.

    Args:
        store: any LangChain vector store, or a ``commonscale.index.FaissIndex`` (to be saved by you). Its own
            settings are left as they are.
        texts: strings or documents; their text is embedded, without metadata. Documents are copied.
        embeddings: LangChain embeddings, or an encoder of Commonscale's; by default the store's own.
        ids: an id for each; by default a document's own, else a UUID made from modality and text.
        metadatas: metadata for each; those of a document are added to its own.
        modality: what the items are.
        modality_key: metadata key that says so.
        batch_size: items embedded and written together.
        show_progress: show a progress bar on stderr.
        score_kind: what the store's scores mean, for stores that are not known.

    Returns:
        The id of each text, in order. Equal texts have one id, and are stored once.

    Raises:
        InvalidInputError: if an argument cannot be used, or vectors are null or not of the store's length.
        UnknownScoreKindError: if no cosine can be made of the store's numbers.
        SourceUnavailableError: if the store cannot be asked.
        IngestError: if embedding or writing failed; its message says what is in.
    """
    job = _Job(store, embeddings, modality, modality_key, batch_size)
    given = [_document(item, place) for place, item in enumerate(as_list(texts, "text"))]
    own = [{} for _ in given] if metadatas is None else as_list(metadatas, "metadata")
    check_count("metadatas", own, len(given))
    joined = [{**d.metadata, **m} if isinstance(m, Mapping) else m for d, m in zip(given, own, strict=True)]
    labels = labeled(joined, len(given), modality, modality_key)
    chosen = given_ids(ids, len(given))
    keys = chosen or [d.id or id_of(modality, d.page_content, job.place) for d in given]
    entries = [
        Entry(key, document.page_content, Document(document.page_content, id=key, metadata=metadata), f"texts[{place}]")
        for place, (key, document, metadata) in enumerate(zip(keys, given, labels, strict=True))
    ]
    plan = job.plan(entries, "text", show_progress, score_kind)

    def embed(contents: list[str]) -> Embedded:
        return Embedded(range(len(contents)), job.embeddings.embed_documents(contents))

    put(distinct(entries, _same, given=chosen is not None), embed, job.write, plan)
    return keys


def add_images(
    store: Any,
    images: Sequence[str | os.PathLike[str] | bytes],
    embeddings: Any = None,
    *,
    captions: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    metadatas: Sequence[Mapping[str, Any]] | None = None,
    store_base64: bool = False,
    modality_key: str = "modality",
    batch_size: int = 64,
    show_progress: bool = False,
    score_kind: str | Converter | None = None,
) -> list[str]:
    """Embed images and put them into a vector store as documents with their caption and, in the metadata, their path.

    The path is under ``image_path``, a URL under ``image_url``, as ``to_content_blocks`` reads them. As ``add_texts``
    in every other respect. Images that cannot be read are left out, with a warning that names them.

    Args:
        store: see ``add_texts``.
        images: paths, http(s) URLs if the model reads them, contents of picture files, data URIs or base64.
        embeddings: embeddings with ``embed_image`` or ``embed_images``, or an encoder of Commonscale's; by default
            the store's own.
        captions: a text for each, kept as the document's content; it is not embedded.
        ids: an id for each; by default a UUID made from the path or URL as it is given, or from the contents.
        metadatas: metadata for each.
        store_base64: write pictures that were given without path or URL into the store, under ``image_base64``;
            otherwise they are refused.
        modality_key: metadata key that says that they are images.
        batch_size: items embedded and written together.
        show_progress: show a progress bar on stderr.
        score_kind: see ``add_texts``.

    Returns:
        The ids of the images that are in, in order.

    Raises:
        InvalidInputError: as ``add_texts``; also if the embeddings read no images.
        UnknownScoreKindError: as ``add_texts``.
        SourceUnavailableError: as ``add_texts``.
        IngestError: as ``add_texts``.

    Warns:
        SkippedImageWarning: if images could not be read.
    """
    job = _Job(store, embeddings, IMAGE, modality_key, batch_size)
    pictures = pictures_of(as_list(images, "image"), store_base64)
    texts = [""] * len(pictures) if captions is None else as_list(captions, "caption")
    check_count("captions", texts, len(pictures))
    labels = labeled(metadatas, len(pictures), IMAGE, modality_key)
    chosen = given_ids(ids, len(pictures))
    keys = chosen or [id_of(IMAGE, picture.identity, job.place) for picture in pictures]
    entries = [
        Entry(key, picture, _picture_document(key, picture, caption, metadata), picture.name)
        for key, picture, caption, metadata in zip(keys, pictures, texts, labels, strict=True)
    ]
    plan = job.plan(entries, "image", show_progress, score_kind)
    embed = image_method(job.embeddings)
    if embed is None:
        raise InvalidInputError(NO_IMAGES.format(type(job.embeddings).__name__))
    reader = PictureReader(embed)
    stored = set(put(distinct(entries, _same, given=chosen is not None), reader, job.write, plan))
    reader.warn()
    return [key for key in keys if key in stored]


@dataclass
class _Job:
    """One call: where documents go, and what embeds them."""

    store: Any
    given: Any
    modality: Modality
    modality_key: str
    batch_size: int

    def __post_init__(self) -> None:
        given = getattr(self.store, "embeddings", None) if self.given is None else self.given
        if given is None:
            raise InvalidInputError(
                f"the {type(self.store).__name__} has no embeddings of its own; give embeddings=..."
            )
        self.embeddings: Any = as_embeddings(given)
        self.name = type(self.store).__name__
        self.way = way_of(self.store)
        self.place = self.way.place(self.store)

    def plan(self, entries: Sequence[Entry], unit: str, shown: bool, score_kind: str | Converter | None) -> Plan:
        """Check the store and the ids."""
        dimension = check_store(self.store, self.way, self.modality, score_kind)
        if self.way.uuids:
            check_uuids([entry.id for entry in entries], self.name)
        return Plan(self.name, dimension, self.batch_size, shown, unit)

    def write(self, entries: list[Entry], rows: Vector) -> None:
        """Write documents with their unit vectors."""
        named = getattr(self.embeddings, "fingerprint", None)
        fingerprint = named if isinstance(named, str) else None
        documents = [entry.payload for entry in entries]
        self.way.write(self.store, Batch(documents, rows, self.modality, self.modality_key, fingerprint))


def _document(item: Any, place: int) -> Document:
    if not isinstance(item, (str, Document)):
        raise InvalidInputError(
            f"texts[{place}] must be a string or a Document, got {type(item).__name__}: {item!r:.200}"
        )
    document = Document(item) if isinstance(item, str) else item
    if not document.page_content.strip():
        raise InvalidInputError(
            f"texts[{place}] has no text ({document.page_content!r}), so it has no meaning to embed; leave it out"
        )
    return document


def _picture_document(key: str, picture: Picture, caption: Any, metadata: dict[str, Any]) -> Document:
    if not isinstance(caption, str):
        raise InvalidInputError(f"the caption of {picture.name} must be a string, got {caption!r}")
    kept = {IMAGE_PATH_KEY: picture.path, "image_url": picture.url, "image_base64": picture.base64}
    return Document(caption, id=key, metadata={**metadata, **{k: v for k, v in kept.items() if v is not None}})


def _same(one: Document, other: Document) -> bool:
    return bool(one == other)
