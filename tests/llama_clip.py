"""LlamaIndex's way to a CLIP: a MultiModalEmbedding as llama-index-embeddings-clip writes it, over transformers."""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MultiModalEmbedding

from naive_clip import NaiveClip


class ClipEmbedding(MultiModalEmbedding):
    """Embeds questions and passages alike, pictures from paths or BytesIO."""

    query_instruction: str = ""
    api_key: str = ""
    _clip: NaiveClip = PrivateAttr()

    def __init__(self, folder: Any, **data: Any) -> None:
        super().__init__(**{"model_name": "tiny-clip", **data})
        self._clip = NaiveClip(folder)

    @classmethod
    def class_name(cls) -> str:
        return "ClipEmbedding"

    @property
    def given(self) -> list[Any]:
        """The pictures it was given."""
        return self._clip.given

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._clip.text(self.query_instruction + query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._clip.text(text)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._clip.image(img_file_path)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embedding(text)

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embedding(img_file_path)
