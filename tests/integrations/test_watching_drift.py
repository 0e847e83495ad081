"""Retrievers of both frameworks that notice, and follow, a change of what is asked."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("langchain_core")

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.schema import ImageNode, TextNode

from commonscale.core.errors import DriftWarning, InvalidInputError
from commonscale.langchain import StandardizedMultiModalRetriever as LangChainRetriever
from commonscale.llama_index import StandardizedMultiModalRetriever as LlamaIndexRetriever
from langchain_world import add_to_memory
from llama_world import FixedEmbedding, simple_store

DIMENSION = 24
BANK = [f"usual {i}" for i in range(300)]
USUAL = [f"usual {i}" for i in range(300, 450)]
STRANGE = [f"strange {i}" for i in range(150)]


def rows(seed: int, count: int, pull: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((count, DIMENSION))
    made[:, 0] += pull
    return made / np.linalg.norm(made, axis=1, keepdims=True)


TEXTS, IMAGES = rows(0, 200, 1.0), rows(1, 100, -1.0)
# Strange questions are nearly quotations of texts.
QUOTED = TEXTS[:150] + 0.2 * rows(3, 150, 0.0)
ASKED = dict(zip(BANK + USUAL + STRANGE, np.concatenate([rows(2, 450, 1.0), QUOTED]), strict=True))


class Fixed(Embeddings):
    def embed_query(self, text: str) -> list[float]:
        return ASKED[text].tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class LlamaIndex:
    def __init__(self) -> None:
        nodes = [TextNode(id_=f"t{i}", text="t", embedding=row.tolist()) for i, row in enumerate(TEXTS)]
        pictures = [ImageNode(id_=f"i{i}", image_path="i.png", embedding=row.tolist()) for i, row in enumerate(IMAGES)]
        model = FixedEmbedding(vectors={text: row.tolist() for text, row in ASKED.items()})
        self.retriever: Any = LlamaIndexRetriever(
            embed_model=model,
            text_store=simple_store(nodes),
            image_store=simple_store(pictures),
            text_nodes={node.node_id: node for node in nodes},
            image_nodes={node.node_id: node for node in pictures},
            similarity_top_k=5,
        )

    def ask(self, questions: list[str]) -> None:
        self.retriever.retrieve_batch(questions)

    def ask_one(self, question: str) -> None:
        asyncio.run(self.retriever.aretrieve(question))


class LangChain:
    def __init__(self) -> None:
        stores = {}
        for name, vectors in (("text", TEXTS), ("image", IMAGES)):
            stores[name] = InMemoryVectorStore(Fixed())
            documents = [Document(id=f"{name}{i}", page_content="d") for i in range(len(vectors))]
            add_to_memory(stores[name], documents, vectors)
        self.retriever: Any = LangChainRetriever(
            text_store=stores["text"], image_store=stores["image"], embeddings=Fixed(), k=5
        )

    def ask(self, questions: list[str]) -> None:
        self.retriever.retrieve_batch(questions)

    def ask_one(self, question: str) -> None:
        asyncio.run(self.retriever.ainvoke(question))


@pytest.fixture(params=[LlamaIndex, LangChain])
def framework(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.mark.parametrize("method", ["standardized", "chance"])
def test_it_warns_of_strange_questions_and_not_of_usual_ones(framework: Any, method: str) -> None:
    framework.retriever.watch_drift(BANK, method=method)
    framework.ask(USUAL)
    with pytest.warns(DriftWarning, match="drift in modality"):
        framework.ask(STRANGE)


def test_it_recalibrates_by_itself(framework: Any) -> None:
    framework.retriever.watch_drift(BANK, policy="recalibrate", method="standardized")
    before = framework.retriever.calibration
    framework.ask(USUAL)
    assert framework.retriever.calibration is before
    framework.ask(STRANGE)
    # It waits until it has seen a hundred of them.
    framework.ask(STRANGE)
    after = framework.retriever.calibration
    assert after is not before
    framework.retriever.calibrate(STRANGE, method="standardized")
    fresh = framework.retriever.calibration
    for modality, entry in after.modalities.items():
        # On the newest questions, which are strange ones all.
        assert entry.statistics.mean == pytest.approx(fresh.modalities[modality].statistics.mean, abs=0.03)


def test_single_questions_count_too(framework: Any) -> None:
    reports = []
    framework.retriever.watch_drift(BANK, policy=reports.append, windows=[20], method="standardized")
    for question in STRANGE[:20]:
        framework.ask_one(question)
    assert [report.drifted for report in reports] == [True]


def test_it_ends_with_another_calibration(framework: Any) -> None:
    monitor = framework.retriever.watch_drift(BANK, method="standardized")
    framework.retriever.calibrate(BANK, method="standardized")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        framework.ask(STRANGE)
    assert str(monitor.observe({}, [])) == "no window is full yet"


def test_it_needs_questions_to_compare_with(framework: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"give some, watch_drift\(questions\), or call"):
        framework.retriever.watch_drift()
    with pytest.raises(InvalidInputError, match="policy must be one of"):
        framework.retriever.watch_drift(BANK, policy="panic")


def test_what_a_filter_leaves_is_not_compared() -> None:
    framework = LangChain()
    framework.retriever.watch_drift(BANK, method="standardized")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        framework.retriever.retrieve_batch(STRANGE, filter=lambda document: document.id.endswith("1"))


def test_a_kept_calibration_is_watched(tmp_path: Path) -> None:
    from commonscale.index import Document as IndexDocument
    from commonscale.index import MemoryIndex

    index = MemoryIndex(DIMENSION)
    index.add([IndexDocument(f"t{i}", "text") for i in range(len(TEXTS))], TEXTS)
    index.add([IndexDocument(f"i{i}", "image") for i in range(len(IMAGES))], IMAGES)
    retriever = LangChainRetriever(text_store=index, image_store=index, embeddings=Fixed(), k=5)
    living = retriever.keep_calibrated(BANK, method="standardized")
    retriever.watch_drift()
    retriever.retrieve_batch(USUAL)
    index.add([IndexDocument("t new", "text")], TEXTS[:1])
    assert retriever.calibration is living.calibration
    with pytest.warns(DriftWarning):
        retriever.retrieve_batch(STRANGE)
