"""LlamaIndex's BM25Retriever, asked through its index."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from commonscale.stores.bm25 import Bm25sIndex
from commonscale.stores.retrieved import WordAsker

_STEMMING = threading.Lock()
"""Stemmers of PyStemmer must not be used by two threads at the same time."""


def is_bm25(retriever: Any) -> bool:
    """Tell whether a retriever is LlamaIndex's BM25Retriever, also a subclass of it that retrieves the same way."""
    known = bm25_class(retriever)
    return known is not None and definer(type(retriever), "_retrieve") is known


def bm25_class(retriever: Any) -> Any:
    """Give LlamaIndex's class BM25Retriever if a retriever is one, without importing it; else None."""
    for cls in type(retriever).__mro__:
        if cls.__name__ == "BM25Retriever" and cls.__module__.startswith("llama_index.retrievers.bm25"):
            return cls
    return None


def definer(cls: type, method: str) -> type | None:
    """Give the class that a method comes from; LlamaIndex's tracing makes a new object of it at every access."""
    return next((base for base in cls.__mro__ if method in vars(base)), None)


def bm25_asker(retriever: Any) -> WordAsker:
    """Make what asks its index; questions are split into words as the retriever splits them."""

    def tokenize(text: str) -> list[str]:
        with _STEMMING:
            words: list[list[str]] = importlib.import_module("bm25s").tokenize(
                text,
                stemmer=None if retriever.skip_stemming else retriever.stemmer,
                token_pattern=retriever.token_pattern,
                return_ids=False,
                show_progress=False,
            )
        return [word for word in words[0] if word]

    def read(row: int) -> tuple[str, Any]:
        record: Mapping[str, Any] = retriever.corpus[row]
        node_id = record.get("node_id")
        return (node_of(record).node_id if node_id is None else str(node_id)), record

    return WordAsker(Bm25sIndex(retriever.bm25, tokenize, retriever.corpus_weight_mask), read)


def node_of(payload: Any) -> BaseNode:
    """Give a hit's node: the one that the retriever returned, or that which its index keeps as a record."""
    return payload if isinstance(payload, BaseNode) else metadata_dict_to_node(dict(payload))
