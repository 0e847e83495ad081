"""Commonscale for LangChain: a retriever, document compressors, embeddings, ingest and message content.

Needs the extra ``langchain``.
"""

from __future__ import annotations

from commonscale.langchain import _extra as _extra
from commonscale.langchain.balancer import ModalityBalancer
from commonscale.langchain.centered import CenteredEmbeddings
from commonscale.langchain.embeddings import CommonscaleEmbeddings
from commonscale.langchain.encoder import LangChainEncoder
from commonscale.langchain.image_questions import ImageQuestion
from commonscale.langchain.ingest import add_images, add_texts
from commonscale.langchain.ingest_shards import add_embedded
from commonscale.langchain.live_store import LiveVectorStore
from commonscale.langchain.messages import to_content_blocks
from commonscale.langchain.retriever import StandardizedMultiModalRetriever
from commonscale.langchain.retriever_source import RetrieverSource
from commonscale.langchain.standardizer import SimilarityStandardizer
from commonscale.langchain.stores import STORES

__all__ = [
    "STORES",
    "CenteredEmbeddings",
    "CommonscaleEmbeddings",
    "ImageQuestion",
    "LangChainEncoder",
    "LiveVectorStore",
    "ModalityBalancer",
    "RetrieverSource",
    "SimilarityStandardizer",
    "StandardizedMultiModalRetriever",
    "add_embedded",
    "add_images",
    "add_texts",
    "to_content_blocks",
]
