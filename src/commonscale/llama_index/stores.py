"""Which vector stores are known, and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever

from commonscale.core.cosines import SCORE_KINDS
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.types import Source
from commonscale.llama_index.chroma_store import open_chroma
from commonscale.llama_index.core_source import CoreSource
from commonscale.llama_index.elasticsearch_store import open_elasticsearch
from commonscale.llama_index.faiss_store import FaissMapSource, FaissSource
from commonscale.llama_index.lancedb_store import open_lancedb
from commonscale.llama_index.live_store import LiveVectorStore
from commonscale.llama_index.milvus_store import open_milvus
from commonscale.llama_index.opensearch_store import open_opensearch
from commonscale.llama_index.postgres_store import open_postgres
from commonscale.llama_index.qdrant_store import open_qdrant
from commonscale.llama_index.query_store import QuerySource
from commonscale.llama_index.retriever_source import RetrieverSource, open_retriever
from commonscale.llama_index.simple_store import SimpleSource
from commonscale.llama_index.sources import EmbeddedSource, NodeSource, StoreOpener, StoreRequest
from commonscale.llama_index.weaviate_store import open_weaviate

STORES: Mapping[str, StoreOpener] = MappingProxyType(
    {
        "SimpleVectorStore": SimpleSource,
        "FaissVectorStore": FaissSource,
        "FaissMapVectorStore": FaissMapSource,
        "MemoryIndex": EmbeddedSource,
        "QdrantVectorStore": open_qdrant,
        "ChromaVectorStore": open_chroma,
        "PGVectorStore": open_postgres,
        "LanceDBVectorStore": open_lancedb,
        "MilvusVectorStore": open_milvus,
        "ElasticsearchStore": open_elasticsearch,
        "OpensearchVectorStore": open_opensearch,
        "WeaviateVectorStore": open_weaviate,
    }
)
"""What opens a store, by the name of its class or of a class it derives from, so that none has to be imported.
``FaissIndex`` is a ``MemoryIndex``."""


def open_source(store: Any, request: StoreRequest) -> NodeSource:
    """Turn a vector store into a source of true cosines for one modality.

    A store that is not in the table is asked through its ``query``; a core ``Source`` is taken as it is. A retriever
    with scores can stand for a store of one modality.

    Args:
        store: the store.
        request: what to search in it.

    Returns:
        The source.

    Raises:
        UnknownScoreKindError: if the store is not known and ``request.score_kind`` is None.
        InvalidInputError: if it is no vector store at all, or needs something that was not given.
    """
    if isinstance(store, LiveVectorStore):
        source: Any = open_source(store.store, store.asked(request))
        source.changes = store.watchable(source, request)
        opened: NodeSource = source
        return opened
    for cls in type(store).__mro__:
        if opener := STORES.get(cls.__name__):
            return opener(store, request)
    if isinstance(store, (BaseRetriever, RetrieverSource)):
        return open_retriever(store, request)
    if hasattr(store, "query") and hasattr(store, "stores_text"):
        if request.score_kind is None:
            raise UnknownScoreKindError(
                f"what {type(store).__name__} returns as similarity is not known; known stores: "
                f"{', '.join(STORES)}; for another store pass score_kind= one of {', '.join(SCORE_KINDS)}, or "
                f"a function from its scores to cosines"
            )
        return QuerySource(store, request)
    if isinstance(store, Source) and not type(store).__module__.startswith("faiss"):
        return CoreSource(store, request)
    raise InvalidInputError(
        f"{type(store).__name__} is no LlamaIndex vector store and no commonscale Source; wrap it in a vector store "
        f"(a FAISS index in FaissVectorStore(faiss_index=...)), or give an object with search(questions, k)"
    )
