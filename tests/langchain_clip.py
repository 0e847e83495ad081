"""LangChain's way to a CLIP: embeddings with embed_image, as its OpenCLIP integration has, over transformers."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, PrivateAttr

from naive_clip import NaiveClip


class ClipEmbeddings(BaseModel, Embeddings):
    """Embeds pictures from paths; anything else is an error, as in libraries that only open files."""

    model_name: str = "tiny-clip"
    query_prefix: str = ""
    device: str = "cpu"
    _clip: NaiveClip = PrivateAttr()

    def __init__(self, folder: Any, **data: Any) -> None:
        super().__init__(**data)
        self._clip = NaiveClip(folder)

    @property
    def given(self) -> list[Any]:
        """The pictures it was given."""
        return self._clip.given

    def embed_query(self, text: str) -> list[float]:
        return self._clip.text(self.query_prefix + text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._clip.text(text) for text in texts]

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        if not all(isinstance(uri, str) for uri in uris):
            raise TypeError("only paths are read")
        return [self._clip.image(uri) for uri in uris]
