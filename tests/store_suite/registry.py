"""Every kind of store that the behavioral suite runs over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from store_suite import chroma, elasticsearch, faiss, lancedb, memory, milvus, opensearch, postgres, qdrant, weaviate
from store_suite.kind import Kind

KINDS: list[Kind] = [
    *memory.KINDS,
    *faiss.KINDS,
    *qdrant.KINDS,
    *chroma.KINDS,
    *postgres.KINDS,
    *lancedb.KINDS,
    *milvus.KINDS,
    *elasticsearch.KINDS,
    *opensearch.KINDS,
    *weaviate.KINDS,
]

SERVERS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    postgres.SERVER: postgres.serve_postgres,
    chroma.SERVER: chroma.serve_chroma,
}
"""The real servers that kinds ask their place for, by the name of the session's fixture."""
