"""A Commonscale encoder as a LlamaIndex embedding model."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import Field
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import ImageType

from commonscale.core.encoder_methods import METHODS, lacking
from commonscale.core.errors import InvalidInputError

if TYPE_CHECKING:
    from commonscale.encoders.base import Vectors

NO_IMAGES = (
    "{} reads no images: it has no get_image_embedding_batch(); give a multimodal embedding model or what "
    "commonscale.load_encoder(name_or_path) returns"
)

# LlamaIndex starts all batches of an asynchronous call at once: so many would need so many times the memory, and an
# encoder of the user's own need not bear threads. One lock for all, so that an embedding can be copied and pickled.
_ONE_AT_A_TIME = threading.Lock()


class CommonscaleEmbedding(MultiModalEmbedding):
    """Embeds questions, texts and images with one encoder.

    The vectors are the encoder's: float32 of unit norm, whatever the vector store. One call runs at a time,
    of all embeddings together, asynchronous ones in a thread, so that the event loop goes on.

    Attributes:
        encoder: what ``commonscale.load_encoder`` returns, or any object with ``encode_questions``,
            ``encode_texts`` and ``encode_images``. Not part of ``to_dict``; give it to ``from_dict`` again.
    """

    encoder: Any = Field(exclude=True, description="The encoder.")

    def __init__(self, encoder: Any, **data: Any) -> None:
        """Set up the embedding.

        Args:
            encoder: the encoder, or a hub id or folder for ``commonscale.load_encoder``.
            data: ``model_name`` (default: the encoder's fingerprint), ``embed_batch_size`` and the other
                settings of a LlamaIndex embedding.

        Raises:
            InvalidInputError: if the encoder lacks one of the three methods.
            MissingExtraError: if an encoder is to be loaded and torch, transformers or Pillow is missing.
        """
        if isinstance(encoder, (str, os.PathLike)):
            from commonscale.encoders import load_encoder

            encoder = load_encoder(os.fspath(encoder))
        missing = lacking(encoder, METHODS)
        if missing:
            raise InvalidInputError(
                f"{type(encoder).__name__} is no encoder: it lacks {', '.join(missing)}; "
                f"give what commonscale.load_encoder(name_or_path) returns"
            )
        data.setdefault("model_name", getattr(encoder, "fingerprint", type(encoder).__name__))
        super().__init__(**{"encoder": encoder, **data})

    @classmethod
    def class_name(cls) -> str:
        """Name the class for serialization."""
        return "CommonscaleEmbedding"

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors: the encoder's fingerprint, or the model's name if it has none."""
        return str(getattr(self.encoder, "fingerprint", self.model_name))

    def get_query_embedding_batch(self, queries: Sequence[str]) -> list[Embedding]:
        """Embed many questions in the encoder's own batches, which LlamaIndex has no method for.

        Args:
            queries: the questions.

        Returns:
            One embedding per question.
        """
        with _ONE_AT_A_TIME:
            return _lists(self.encoder.encode_questions(list(queries)))

    async def aget_query_embedding_batch(self, queries: Sequence[str]) -> list[Embedding]:
        """As ``get_query_embedding_batch``, off the event loop."""
        return await asyncio.to_thread(self.get_query_embedding_batch, queries)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self.get_query_embedding_batch([query])[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        with _ONE_AT_A_TIME:
            return _lists(self.encoder.encode_texts(texts))

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._get_image_embeddings([img_file_path])[0]

    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        images = [image.getvalue() if isinstance(image, BytesIO) else image for image in img_file_paths]
        with _ONE_AT_A_TIME:
            return _lists(self.encoder.encode_images(images))

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)

    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_image_embeddings, img_file_paths)


def _lists(vectors: Vectors) -> list[Embedding]:
    rows: list[Embedding] = vectors.tolist()
    return rows
