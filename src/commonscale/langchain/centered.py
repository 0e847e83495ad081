"""Gap removal at indexing time, around any LangChain embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings

from commonscale.core.centering import QUESTION, Centering
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.encoders.centered import centered_fingerprint, check_centering
from commonscale.encoders.wrapped import picture_file
from commonscale.langchain.embeddings import NO_IMAGES, CommonscaleEmbeddings, image_method
from commonscale.langchain.image_questions import embed_files
from commonscale.langchain.questions import aembed_questions, as_embeddings, embed_questions, fingerprint_of


class CenteredEmbeddings(Embeddings):
    """Gives other embeddings' vectors with their mean subtracted, of unit norm again (GR-CLIP, arXiv 2507.19054).

    Questions lose the mean of questions, passages that of passages, pictures that of pictures; a picture that is a
    question is embedded as pictures are. Fill stores and set up the retriever with it as with any embeddings. Its
    vectors have a fingerprint of their own, so a calibration of others is refused.

    Attributes:
        embeddings: the embeddings.
        centering: means of their vectors, by ``commonscale.Centering.fit``, or a calibration's.
        modality: the modality whose question mean questions have; None if there is only one.
    """

    def __init__(self, embeddings: Any, centering: Centering, *, modality: Modality | None = None) -> None:
        """Wrap embeddings.

        Args:
            embeddings: LangChain embeddings, or a Commonscale encoder.
            centering: see the attributes.
            modality: see the attributes.

        Raises:
            InvalidInputError: if it is neither, or no centering.
        """
        self.embeddings = as_embeddings(embeddings)
        self.centering = check_centering(centering, () if modality is None else (modality,))
        self.modality = modality

    def __repr__(self) -> str:
        return f"CenteredEmbeddings({type(self.embeddings).__name__}, {self.centering!r})"

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors: the embeddings' (their class, if they name none), and a digest of the means."""
        known = fingerprint_of(self.embeddings) or type(self.embeddings).__name__
        return centered_fingerprint(known, self.centering, self.modality)

    def embed_query(self, text: str) -> list[float]:
        """Embed one question."""
        return self._questions([self.embeddings.embed_query(text)])[0]

    def embed_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed many questions, in batches where the embeddings have a method for that."""
        return self._questions(embed_questions(self.embeddings, texts))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages."""
        return self._documents(self.embeddings.embed_documents(texts), TEXT)

    def embed_image(self, uris: Sequence[Any]) -> list[list[float]]:
        """Embed pictures.

        Args:
            uris: paths, or bytes, base64 and PIL images.

        Returns:
            One vector per picture.

        Raises:
            InvalidInputError: if the embeddings read no pictures.
        """
        return self._documents(self._pictures(uris), IMAGE)

    def embed_blended(self, texts: Sequence[str], images: Sequence[Any], alpha: float = 0.5) -> list[list[float]]:
        """Embed documents that are a text and a picture together (see ``Centering.blend``).

        Args:
            texts: their texts.
            images: their pictures, as many.
            alpha: weight of the text, in [0, 1].

        Returns:
            One vector per document.

        Raises:
            InvalidInputError: if their numbers differ, the embeddings read no pictures, or ``alpha`` is out of range.
        """
        if len(texts) != len(images):
            raise InvalidInputError(f"texts and images must pair up, got {len(texts)} texts and {len(images)} images")
        pictures = self._pictures(images)
        if not texts:
            return []
        blended = self.centering.blend(self.embeddings.embed_documents(list(texts)), pictures, alpha)
        rows: list[list[float]] = blended.tolist()
        return rows

    async def aembed_query(self, text: str) -> list[float]:
        """As ``embed_query``, by the asynchronous method."""
        return (await self.aembed_queries([text]))[0]

    async def aembed_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """As ``embed_queries``, by the asynchronous methods."""
        return self._questions(await aembed_questions(self.embeddings, texts))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As ``embed_documents``, by the asynchronous method."""
        return self._documents(await self.embeddings.aembed_documents(texts), TEXT)

    async def aembed_image(self, uris: Sequence[Any]) -> list[list[float]]:
        """As ``embed_image``, in a thread."""
        return await asyncio.to_thread(self.embed_image, uris)

    def _pictures(self, uris: Sequence[Any]) -> Sequence[Any]:
        embed: Any = image_method(self.embeddings)
        if embed is None:
            raise InvalidInputError(NO_IMAGES.format(type(self.embeddings).__name__))
        if isinstance(self.embeddings, CommonscaleEmbeddings):
            found: Sequence[Any] = embed(uris)
            return found
        return embed_files(embed, [picture_file(uri) for uri in uris])

    def _questions(self, rows: Sequence[Any]) -> list[list[float]]:
        centered: list[list[float]] = []
        if len(rows):
            centered = self.centering.center(rows, QUESTION, self.modality).tolist()
        return centered

    def _documents(self, rows: Sequence[Any], modality: Modality) -> list[list[float]]:
        centered: list[list[float]] = self.centering.center(rows, modality).tolist() if len(rows) else []
        return centered
