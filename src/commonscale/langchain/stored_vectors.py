"""The vectors that any LangChain store holds, where it gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.types import Vector


def stored_vectors(store: Any, documents: Sequence[Document]) -> Vector | None:
    """Read the vectors of hits in one of the ways in which stores give them; LangChain has none of its own.

    Args:
        store: the store.
        documents: the hits (n), with their ids.

    Returns:
        Vectors (n, d) as stored; None if the store does not give them.
    """
    tried = (_tried(read, store, documents) for read in _READERS)
    return next((vectors for vectors in tried if vectors is not None), None)


def _tried(read: Callable[[Any, Sequence[Document]], list[Any]], store: Any, documents: Sequence[Document]) -> Any:
    try:
        vectors = np.asarray(read(store, documents), np.float32)
    except Exception:  # noqa: BLE001 (each store that cannot be read in this way fails with an error of its own)
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == len(documents) else None


def _from_metadata(_: Any, documents: Sequence[Document]) -> list[Any]:
    # Where Weaviate puts it, if it was asked to.
    return [document.metadata["vector"] for document in documents]


def _from_records(store: Any, documents: Sequence[Document]) -> list[Any]:
    # How InMemoryVectorStore keeps them.
    return [store.store[document.id]["vector"] for document in documents]


def _from_get(store: Any, documents: Sequence[Document]) -> list[Any]:
    # Chroma's get().
    ids = [document.id for document in documents]
    found: Mapping[str, Any] = store.get(ids=ids, include=["embeddings"])
    by_id = dict(zip(found["ids"], found["embeddings"], strict=True))
    return [by_id[i] for i in ids]


_READERS: tuple[Callable[[Any, Sequence[Document]], list[Any]], ...] = (_from_metadata, _from_records, _from_get)
