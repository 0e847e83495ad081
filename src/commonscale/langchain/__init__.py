"""Commonscale for LangChain: retriever, compressors, embeddings, ingest, message content, chains and a tool.

Needs the extra ``langchain``.
"""

from __future__ import annotations

from commonscale.langchain import _extra as _extra
from commonscale.langchain.answers import ANSWER_TYPES, MultimodalAnswer
from commonscale.langchain.balancer import ModalityBalancer
from commonscale.langchain.centered import CenteredEmbeddings
from commonscale.langchain.chat_chain import create_multimodal_chat_chain
from commonscale.langchain.embeddings import CommonscaleEmbeddings
from commonscale.langchain.encoder import LangChainEncoder
from commonscale.langchain.image_questions import ImageQuestion
from commonscale.langchain.ingest import add_images, add_texts
from commonscale.langchain.ingest_shards import add_embedded
from commonscale.langchain.live_store import LiveVectorStore
from commonscale.langchain.messages import to_content_blocks
from commonscale.langchain.pictures import ImageKeys
from commonscale.langchain.prompt_items import prompt_items
from commonscale.langchain.qa_chain import create_multimodal_qa_chain
from commonscale.langchain.request_messages import prompt_blocks
from commonscale.langchain.retriever import StandardizedMultiModalRetriever
from commonscale.langchain.retriever_source import RetrieverSource
from commonscale.langchain.standardizer import SimilarityStandardizer
from commonscale.langchain.stores import STORES
from commonscale.langchain.tool import create_multimodal_retriever_tool
from commonscale.langchain.tool_pictures import pictures_after_tools

__all__ = [
    "ANSWER_TYPES",
    "STORES",
    "CenteredEmbeddings",
    "CommonscaleEmbeddings",
    "ImageKeys",
    "ImageQuestion",
    "LangChainEncoder",
    "LiveVectorStore",
    "ModalityBalancer",
    "MultimodalAnswer",
    "RetrieverSource",
    "SimilarityStandardizer",
    "StandardizedMultiModalRetriever",
    "add_embedded",
    "add_images",
    "add_texts",
    "create_multimodal_chat_chain",
    "create_multimodal_qa_chain",
    "create_multimodal_retriever_tool",
    "pictures_after_tools",
    "prompt_blocks",
    "prompt_items",
    "to_content_blocks",
]
