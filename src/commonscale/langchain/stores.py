"""The vector stores that are known, and how each becomes sources of true cosines.

To support another store, add one row to ``STORES``: any function of (store, view) that gives a source.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from langchain_core.retrievers import BaseRetriever

from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.types import Source
from commonscale.langchain.chroma_store import open_chroma
from commonscale.langchain.distinct import DistinctSource
from commonscale.langchain.elasticsearch_store import open_elasticsearch
from commonscale.langchain.faiss_store import FaissStoreSource
from commonscale.langchain.lancedb_store import open_lancedb
from commonscale.langchain.live_store import LiveVectorStore
from commonscale.langchain.memory_store import InMemorySource
from commonscale.langchain.milvus_store import open_milvus
from commonscale.langchain.opensearch_store import open_opensearch
from commonscale.langchain.postgres_store import open_pgvector, open_pgvectorstore
from commonscale.langchain.qdrant_store import open_qdrant
from commonscale.langchain.retriever_source import RetrieverSource, open_retriever
from commonscale.langchain.scored_store import METHOD, ScoredSource
from commonscale.langchain.view import View
from commonscale.langchain.weaviate_store import open_weaviate
from commonscale.langchain.wrapped_source import WrappedSource

Adapter: TypeAlias = Callable[[Any, View], Source]


def _index_source(index: Any, view: View) -> Source:
    # The index keeps its modalities apart itself, so no label is needed.
    return WrappedSource(index.source(view.modality), replace(view, modality_key=None))


STORES: dict[str, Adapter] = {
    "InMemoryVectorStore": InMemorySource,
    "FAISS": FaissStoreSource,
    "FaissIndex": _index_source,
    "MemoryIndex": _index_source,
    "QdrantVectorStore": open_qdrant,
    "Chroma": open_chroma,
    "PGVectorStore": open_pgvectorstore,
    "AsyncPGVectorStore": open_pgvectorstore,
    "PGVector": open_pgvector,
    "LanceDB": open_lancedb,
    "Milvus": open_milvus,
    "ElasticsearchStore": open_elasticsearch,
    "AsyncElasticsearchStore": open_elasticsearch,
    "OpenSearchVectorSearch": open_opensearch,
    "WeaviateVectorStore": open_weaviate,
}
"""Adapters by class name; subclasses of a class are served by its row. By name, so that nothing is imported."""


_METHODS = (METHOD, "similarity_search_by_vector_with_relevance_scores")
"""What stores call the search by vector that returns scores; the second is Chroma's and Elasticsearch's name."""


def source_of(store: Any, view: View) -> Source:
    """Make one modality of a store a source of true cosines.

    Args:
        store: a store of the table above, a retriever with scores, any object that already is a ``Source``, or, if the
            view names a score kind, any vector store with ``similarity_search_with_score_by_vector`` or
            ``similarity_search_by_vector_with_relevance_scores``.
        view: which documents, and how they are named.

    Returns:
        A live source: it sees what is added to the store later.

    Raises:
        UnknownScoreKindError: if nothing is known of the store's scores.
        InvalidInputError: if it is no store (a path, a retriever without scores), a bare FAISS index, which has vectors
            but no documents, or a store that cannot be searched by vector.
    """
    source = _adapted(store, view)
    # Ids of the store's own are unique; those that the user names may stand for several documents.
    return source if view.id_key is None else DistinctSource(source, view.modality)


def _adapted(store: Any, view: View) -> Source:
    if isinstance(store, LiveVectorStore):
        source: Any = _adapted(store.store, view)
        source.changes = store.watchable(view)
        told: Source = source
        return told
    for cls in type(store).__mro__:
        adapter = STORES.get(cls.__name__)
        if adapter is not None:
            return adapter(store, view)
    if type(store).__module__.split(".")[0] == "faiss":
        raise InvalidInputError(
            f"a bare faiss.{type(store).__name__} cannot be searched for documents, it holds only vectors; give a "
            f"LangChain FAISS store around it (FAISS(embeddings, index, docstore, index_to_docstore_id)), or a "
            f"commonscale.index.FaissIndex"
        )
    if isinstance(store, (BaseRetriever, RetrieverSource)):
        return WrappedSource(open_retriever(store, view), view)
    if callable(getattr(store, "search", None)) and not hasattr(store, "similarity_search"):
        return WrappedSource(store, view)
    _refuse_other_things(store)
    method = next((name for name in _METHODS if callable(getattr(store, name, None))), None)
    if method is None:
        raise InvalidInputError(
            f"a {type(store).__name__} cannot be searched by vector: it has no method {_METHODS[0]}(), and none called "
            f"{_METHODS[1]}(). Known are {', '.join(STORES)} and every object with search(questions, k) -> Candidates"
        )
    try:
        return ScoredSource(store, view, method)
    except UnknownScoreKindError as error:
        raise UnknownScoreKindError(
            f"{error}. Known are {', '.join(STORES)} and every object with search(questions, k) -> Candidates"
        ) from error


def _refuse_other_things(store: Any) -> None:
    if isinstance(store, (str, os.PathLike)):
        raise InvalidInputError(
            f"a vector store is needed, got {store!r}: if this is a path, open the index there with "
            f"commonscale.index.FaissIndex.open(path), or load the LangChain store, and pass that"
        )
