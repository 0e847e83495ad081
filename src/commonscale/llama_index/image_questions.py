"""Questions that are pictures, as LlamaIndex's query bundles, and how models embed them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle, QueryType

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality
from commonscale.llama_index.embedding import CommonscaleEmbedding

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput

_CANNOT = (
    "the question is an image, and {} of modality {!r} reads none: it has no get_image_embedding_batch(); give a "
    "multimodal embedding model or what commonscale.load_encoder(name_or_path) returns, or search only a modality "
    "that has one (image_to_image_retrieve, image_to_text_retrieve)"
)


def image_bundle(question: QueryType | ImageInput) -> QueryBundle:
    """Give the bundle of a question that is a picture.

    Args:
        question: a picture (a string is a path, or what else ``commonscale.encoders.images`` reads from strings), or
            a bundle with one in ``image_path``.

    Returns:
        A bundle whose ``image_path`` is a string: what is no path or URL is a data URI of its contents. A bundle that
        has one already stays the caller's own object.

    Raises:
        InvalidInputError: if a bundle has no picture.
        ImageError: if there is no picture to read.
    """
    if not isinstance(question, QueryBundle):
        return QueryBundle("", image_path=_text_of(question))
    if question.image_path is None:
        raise InvalidInputError(
            f"the question {question.query_str!r} has no image: give a picture, or QueryBundle('', image_path=...)"
        )
    return with_text(question)


def with_text(bundle: QueryBundle) -> QueryBundle:
    """Give a bundle whose picture, if it has one, is a string; the caller's bundle is not changed."""
    picture: Any = bundle.image_path  # A dataclass checks no types: users put bytes and PIL images there.
    return bundle if picture is None or isinstance(picture, str) else replace(bundle, image_path=_text_of(picture))


def _text_of(picture: ImageInput) -> str:
    if isinstance(picture, str):
        return picture
    if isinstance(picture, os.PathLike):
        return os.fsdecode(picture)
    from commonscale.encoders.picture_text import picture_text

    return picture_text(picture)


def check_reads(model: BaseEmbedding, modality: Modality) -> None:
    """Check that a model embeds pictures.

    Raises:
        InvalidInputError: if it does not; the message names the modality whose questions it embeds.
    """
    if not callable(getattr(model, "get_image_embedding_batch", None)):
        raise InvalidInputError(_CANNOT.format(type(model).__name__, modality))


def embed_pictures(model: Any, pictures: Sequence[str], show_progress: bool = False) -> list[Any]:
    """Embed pictures by a multimodal model's method for many, as paths where they are paths, else as ``BytesIO``."""
    return model.get_image_embedding_batch(_files(model, pictures), show_progress) if pictures else []


async def aembed_pictures(model: Any, pictures: Sequence[str]) -> list[Any]:
    """As ``embed_pictures``, by the asynchronous method."""
    return await model.aget_image_embedding_batch(_files(model, pictures)) if pictures else []


def _files(model: Any, pictures: Sequence[str]) -> list[Any]:
    if isinstance(model, CommonscaleEmbedding):
        return list(pictures)
    from commonscale.encoders.wrapped import picture_file

    return [BytesIO(file) if isinstance(file, bytes) else file for file in map(picture_file, pictures)]
