"""Commonscale's encoders as LangChain embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from commonscale.core.encoder_methods import lacking
from commonscale.core.errors import InvalidInputError
from commonscale.encoders.base import Encoder

_IMAGE_METHODS = ("embed_images", "embed_image")
"""What embeddings call their method for pictures. Where there are both, the second takes a single one."""


def image_method(embeddings: Any) -> Callable[[list[Any]], Any] | None:
    """Give the method of embeddings that takes a list of pictures, None if they read none."""
    return next((found for name in _IMAGE_METHODS if callable(found := getattr(embeddings, name, None))), None)


NO_IMAGES = (
    f"{{}} reads no images: it has neither {' nor '.join(_IMAGE_METHODS)}(); give embeddings that have, or what "
    f"commonscale.load_encoder(name_or_path) returns"
)


class CommonscaleEmbeddings(Embeddings):
    """Embeds questions, passages and pictures with one encoder, for any LangChain vector store.

    ``embed_image`` takes paths or other ``uris`` as LangChain's Chroma and OpenCLIP integrations do. All
    vectors have norm 1.

    Attributes:
        encoder: the encoder.
    """

    def __init__(self, encoder: Encoder | str | os.PathLike[str], **options: Any) -> None:
        """Wrap an encoder, or load one.

        Args:
            encoder: an encoder, or a hub id or folder for ``load_encoder``.
            **options: for ``load_encoder``, such as ``device`` or ``batch_size``.

        Raises:
            InvalidInputError: if it is no encoder, or options come with one that is loaded already.
            MissingExtraError: if an encoder is to be loaded and torch, transformers or Pillow is missing.
        """
        if isinstance(encoder, (str, os.PathLike)):
            from commonscale.encoders import load_encoder

            self.encoder: Encoder = load_encoder(os.fspath(encoder), **options)
        elif options:
            raise InvalidInputError(f"{sorted(options)} can only be given with the name of an encoder to load")
        elif lacking(encoder):
            raise InvalidInputError(
                f"an encoder, a hub id or a folder is needed, got {type(encoder).__name__}; an encoder has "
                f"encode_questions, encode_texts, encode_images, dimension and fingerprint"
            )
        else:
            self.encoder = encoder

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self.encoder.dimension

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors, written into calibrations."""
        return self.encoder.fingerprint

    def embed_query(self, text: str) -> list[float]:
        """Embed one question."""
        return self.embed_queries([text])[0]

    def embed_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed many questions in batches, which LangChain's interface has no method for."""
        vectors: list[list[float]] = self.encoder.encode_questions(texts).tolist()
        return vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages."""
        vectors: list[list[float]] = self.encoder.encode_texts(texts).tolist()
        return vectors

    def embed_image(self, uris: Sequence[Any]) -> list[list[float]]:
        """Embed pictures.

        Args:
            uris: paths, or anything else that the encoder reads: bytes, base64, PIL images.

        Returns:
            One vector per picture.

        Raises:
            ImageError: for the first picture that cannot be used.
        """
        vectors: list[list[float]] = self.encoder.encode_images(uris).tolist()
        return vectors

    async def aembed_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """As ``embed_queries``, in a thread."""
        return await run_in_executor(None, self.embed_queries, texts)

    async def aembed_image(self, uris: Sequence[Any]) -> list[list[float]]:
        """As ``embed_image``, in a thread."""
        return await run_in_executor(None, self.embed_image, uris)
