"""What importing the package loads, what it exports, and what happens without LangChain."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("langchain_core")

import commonscale.langchain


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip()


def test_importing_loads_neither_stores_nor_models():
    heavy = ["torch", "transformers", "PIL", "faiss", "langchain_community", "langchain_classic", "llama_index"]
    code = f"import sys, commonscale.langchain; print([m for m in {heavy} if m in sys.modules])"
    assert run(code) == "[]"


def test_missing_langchain_says_what_to_run():
    code = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "try:\n    import commonscale.langchain\n"
        "except Exception as error:\n    print(type(error).__name__, str(error).splitlines()[-1])"
    )
    assert run(code) == "MissingExtraError pip install 'commonscale[langchain]'"


def test_exports():
    assert sorted(commonscale.langchain.__all__) == [
        "ANSWER_TYPES",
        "CenteredEmbeddings",
        "CommonscaleEmbeddings",
        "ImageKeys",
        "ImageQuestion",
        "LangChainEncoder",
        "LiveVectorStore",
        "ModalityBalancer",
        "MultimodalAnswer",
        "RetrieverSource",
        "STORES",
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
    assert all(hasattr(commonscale.langchain, name) for name in commonscale.langchain.__all__)
    assert {"FAISS", "FaissIndex", "InMemoryVectorStore", "MemoryIndex"} <= set(commonscale.langchain.STORES)
