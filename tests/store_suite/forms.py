"""Items in each framework's form. Nothing is imported until it is asked for, so that one framework is enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store_suite.corpus import Item


def nodes(items: Sequence[Item]) -> list[Any]:
    """LlamaIndex nodes with their vectors: images as ``ImageNode`` with a path."""
    from llama_index.core.schema import ImageNode, TextNode

    made: list[Any] = []
    for item in items:
        fields: dict[str, Any] = {"id_": item.id, "metadata": dict(item.metadata), "embedding": list(item.vector)}
        if item.modality == "image":
            made.append(ImageNode(image_path=f"{item.text}.png", **fields))
        else:
            made.append(TextNode(text=item.text, **fields))
    return made


def documents(items: Sequence[Item]) -> list[Any]:
    """LangChain documents: images with a path in their metadata."""
    from langchain_core.documents import Document

    return [
        Document(
            id=item.id,
            page_content=item.text,
            metadata={**item.metadata, **({"image_path": f"{item.text}.png"} if item.modality == "image" else {})},
        )
        for item in items
    ]


def lc_embeddings(items: Sequence[Item] = (), questions: dict[str, list[float]] | None = None) -> Any:
    """LangChain embeddings that look up the vectors of items by their text, and of questions by their wording."""
    from langchain_core.embeddings import Embeddings

    class LookUp(Embeddings):
        def __init__(self) -> None:
            self.vectors = {**{item.text: list(item.vector) for item in items}, **(questions or {})}

        def learn(self, more: Sequence[Item]) -> None:
            """Know the vectors of further items too."""
            self.vectors.update({item.text: list(item.vector) for item in more})

        def embed_query(self, text: str) -> list[float]:
            return self.vectors[text]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.vectors[text] for text in texts]

    return LookUp()


def li_even() -> Any:
    """The filter "parity is 0" of LlamaIndex."""
    from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

    return MetadataFilters(filters=[MetadataFilter(key="parity", value=0)])


def add_documents(store: Any, items: Sequence[Item]) -> None:
    """Add items to a LangChain store whose embeddings are ``lc_embeddings``."""
    store.embeddings.learn(items)
    store.add_documents(documents(items), ids=[item.id for item in items])


def add_nodes(store: Any, items: Sequence[Item]) -> None:
    """Add items to a LlamaIndex store."""
    store.add(nodes(items))
