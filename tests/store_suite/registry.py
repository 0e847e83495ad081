"""Every kind of store that the behavioral suite runs over."""

from __future__ import annotations

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
