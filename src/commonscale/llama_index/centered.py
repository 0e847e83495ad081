"""Gap removal at indexing time, around any LlamaIndex embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import ImageType

from commonscale.core.centering import QUESTION, Centering
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.llama_index.embedding import NO_IMAGES, CommonscaleEmbedding
from commonscale.llama_index.questions import fingerprint_of


class CenteredEmbedding(MultiModalEmbedding):
    """Gives another model's vectors with their mean subtracted, of unit norm again (GR-CLIP, arXiv 2507.19054).

    Questions lose the mean of questions, texts that of texts, images that of images; an image that is a question is
    embedded as images are. Build the index and the retriever with it as with any model. Its vectors have a fingerprint
    of their own, so a calibration of others is refused.

    Attributes:
        embed_model: the model. Not part of ``to_dict``.
        centering: means of its vectors, by ``commonscale.Centering.fit``, or a calibration's. Not part of ``to_dict``.
        modality: the modality whose question mean questions have; None if there is only one.
    """

    embed_model: BaseEmbedding = Field(exclude=True, description="The model.")
    centering: Any = Field(exclude=True, description="The means.")
    modality: str | None = Field(default=None, description="The modality whose question mean questions have.")

    def __init__(
        self, embed_model: Any, centering: Centering, *, modality: Modality | None = None, **data: Any
    ) -> None:
        """Wrap a model.

        Args:
            embed_model: a LlamaIndex embedding, or a Commonscale encoder.
            centering: see the attributes.
            modality: see the attributes.
            data: ``model_name`` (default: the fingerprint), ``embed_batch_size`` (default: the model's) and the other
                settings of a LlamaIndex embedding.

        Raises:
            InvalidInputError: if it is no model or no centering.
        """
        from commonscale.encoders.centered import centered_fingerprint, check_centering

        check_centering(centering, () if modality is None else (modality,))
        model = embed_model if isinstance(embed_model, BaseEmbedding) else CommonscaleEmbedding(embed_model)
        data.setdefault("model_name", centered_fingerprint(fingerprint_of(model), centering, modality))
        data.setdefault("embed_batch_size", model.embed_batch_size)
        super().__init__(**{"embed_model": model, "centering": centering, "modality": modality, **data})

    @classmethod
    def class_name(cls) -> str:
        """Name the class for serialization."""
        return "CenteredEmbedding"

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors: the model's, and a digest of the means."""
        from commonscale.encoders.centered import centered_fingerprint

        return centered_fingerprint(fingerprint_of(self.embed_model), self.centering, self.modality)

    def get_query_embedding_batch(self, queries: Sequence[str]) -> list[Embedding]:
        """Embed many questions, in batches where the model has a method for that.

        Args:
            queries: the questions.

        Returns:
            One embedding per question.
        """
        model = self.embed_model
        many = getattr(model, "get_query_embedding_batch", None)
        return self._questions(many(queries) if callable(many) else [model.get_query_embedding(q) for q in queries])

    async def aget_query_embedding_batch(self, queries: Sequence[str]) -> list[Embedding]:
        """As ``get_query_embedding_batch``, by the model's asynchronous methods."""
        model = self.embed_model
        many = getattr(model, "aget_query_embedding_batch", None)
        if callable(many):
            return self._questions(await many(queries))
        return self._questions([await model.aget_query_embedding(query) for query in queries])

    def get_blended_embeddings(
        self, texts: Sequence[str], images: Sequence[ImageType], alpha: float = 0.5
    ) -> list[Embedding]:
        """Embed documents that are a text and an image together (see ``Centering.blend``).

        Args:
            texts: their texts.
            images: their images, as many.
            alpha: weight of the text, in [0, 1].

        Returns:
            One embedding per document.

        Raises:
            InvalidInputError: if their numbers differ, the model reads no images, or ``alpha`` is out of range.
        """
        model = self._reading()
        if len(texts) != len(images):
            raise InvalidInputError(f"texts and images must pair up, got {len(texts)} texts and {len(images)} images")
        pair = model.get_text_embedding_batch(list(texts)), model.get_image_embedding_batch(list(images))
        rows: list[Embedding] = self.centering.blend(*pair, alpha).tolist() if texts else []
        return rows

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._questions([self.embed_model.get_query_embedding(query)])[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._questions([await self.embed_model.aget_query_embedding(query)])[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._documents([self.embed_model.get_text_embedding(text)], TEXT)[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._documents(self.embed_model.get_text_embedding_batch(texts), TEXT)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return self._documents([await self.embed_model.aget_text_embedding(text)], TEXT)[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._documents(await self.embed_model.aget_text_embedding_batch(texts), TEXT)

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._documents([self._reading().get_image_embedding(img_file_path)], IMAGE)[0]

    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        return self._documents(self._reading().get_image_embedding_batch(img_file_paths), IMAGE)

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return self._documents([await self._reading().aget_image_embedding(img_file_path)], IMAGE)[0]

    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Embedding]:
        return self._documents(await self._reading().aget_image_embedding_batch(img_file_paths), IMAGE)

    def _reading(self) -> Any:
        """Give the model, if it reads images."""
        if not callable(getattr(self.embed_model, "get_image_embedding_batch", None)):
            raise InvalidInputError(NO_IMAGES.format(type(self.embed_model).__name__))
        return self.embed_model

    def _questions(self, rows: Sequence[Embedding]) -> list[Embedding]:
        centered: list[Embedding] = self.centering.center(rows, QUESTION, self.modality).tolist() if len(rows) else []
        return centered

    def _documents(self, rows: Sequence[Embedding], modality: Modality) -> list[Embedding]:
        centered: list[Embedding] = self.centering.center(rows, modality).tolist() if len(rows) else []
        return centered
