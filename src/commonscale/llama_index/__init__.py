"""Commonscale for LlamaIndex: a retriever, postprocessors, an embedding model, ingest, engines and their evaluation.

Needs the extra ``llama-index``.
"""

from __future__ import annotations

from importlib import import_module
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
    from commonscale.llama_index.answer_template import CONTEXT_TEMPLATE, AnswerTemplate
    from commonscale.llama_index.chat_store import InMemoryChatStore
    from commonscale.llama_index.citations import citations_of, prompt_of
    from commonscale.llama_index.encoder import LlamaIndexEncoder
    from commonscale.llama_index.engines import create_multimodal_chat_engine, create_multimodal_query_engine
    from commonscale.llama_index.evaluation import JointRetrieverEvaluator
    from commonscale.llama_index.one_call import OneCallSynthesizer
    from commonscale.llama_index.preparer import PromptPreparer

__all__ = [
    "CONTEXT_TEMPLATE",
    "AnswerTemplate",
    "CenteredEmbedding",
    "CommonscaleEmbedding",
    "InMemoryChatStore",
    "JointRetrieverEvaluator",
    "LiveVectorStore",
    "LlamaIndexEncoder",
    "ModalityBalancer",
    "OneCallSynthesizer",
    "PromptPreparer",
    "RetrieverSource",
    "SimilarityStandardizer",
    "StandardizedMultiModalRetriever",
    "add_embedded",
    "add_images",
    "add_texts",
    "citations_of",
    "create_multimodal_chat_engine",
    "create_multimodal_query_engine",
    "prompt_of",
]

_LATER = {
    "CONTEXT_TEMPLATE": "answer_template",
    "AnswerTemplate": "answer_template",
    "InMemoryChatStore": "chat_store",
    "JointRetrieverEvaluator": "evaluation",
    "LlamaIndexEncoder": "encoder",
    "OneCallSynthesizer": "one_call",
    "PromptPreparer": "preparer",
    "citations_of": "citations",
    "create_multimodal_chat_engine": "engines",
    "create_multimodal_query_engine": "engines",
    "prompt_of": "citations",
}
"""Where the names are that need the encoders, or that answer questions."""


def __getattr__(name: str) -> Any:
    """Import what retrieving does not need when it is first asked for."""
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
