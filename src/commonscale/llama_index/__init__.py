"""Commonscale for LlamaIndex: a retriever, node postprocessors, an embedding model and ingest.

Needs the extra ``llama-index``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commonscale.llama_index import _extra as _extra
from commonscale.llama_index.balancer import ModalityBalancer
from commonscale.llama_index.centered import CenteredEmbedding
from commonscale.llama_index.embedding import CommonscaleEmbedding
from commonscale.llama_index.ingest import add_images, add_texts
from commonscale.llama_index.ingest_shards import add_embedded
from commonscale.llama_index.live_store import LiveVectorStore
from commonscale.llama_index.retriever import StandardizedMultiModalRetriever
from commonscale.llama_index.retriever_source import RetrieverSource
from commonscale.llama_index.standardizer import SimilarityStandardizer

if TYPE_CHECKING:
    from commonscale.llama_index.encoder import LlamaIndexEncoder

__all__ = [
    "CenteredEmbedding",
    "CommonscaleEmbedding",
    "LiveVectorStore",
    "LlamaIndexEncoder",
    "ModalityBalancer",
    "RetrieverSource",
    "SimilarityStandardizer",
    "StandardizedMultiModalRetriever",
    "add_embedded",
    "add_images",
    "add_texts",
]


def __getattr__(name: str) -> Any:
    """Import what needs the encoders when it is first asked for: retrieving alone does not."""
    if name == "LlamaIndexEncoder":
        from commonscale.llama_index.encoder import LlamaIndexEncoder

        return LlamaIndexEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
