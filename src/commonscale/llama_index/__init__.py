"""Commonscale for LlamaIndex: a retriever, node postprocessors, an embedding model and ingest.

Needs the extra ``llama-index``.
"""

from __future__ import annotations

from commonscale.llama_index import _extra as _extra
from commonscale.llama_index.balancer import ModalityBalancer
from commonscale.llama_index.embedding import CommonscaleEmbedding
from commonscale.llama_index.ingest import add_images, add_texts
from commonscale.llama_index.retriever import StandardizedMultiModalRetriever
from commonscale.llama_index.retriever_source import RetrieverSource
from commonscale.llama_index.standardizer import SimilarityStandardizer

__all__ = [
    "CommonscaleEmbedding",
    "ModalityBalancer",
    "RetrieverSource",
    "SimilarityStandardizer",
    "StandardizedMultiModalRetriever",
    "add_images",
    "add_texts",
]
