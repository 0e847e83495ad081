"""Every method through both frameworks' retrievers, against numpy on all pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("langchain_core")

from llama_index.core.schema import NodeWithScore

import langchain_world
import llama_world
from commonscale import Calibration, Question
from commonscale.core.errors import InvalidInputError, MethodFallbackWarning
from commonscale.langchain import SimilarityStandardizer as DocumentStandardizer
from commonscale.langchain import StandardizedMultiModalRetriever as LangChainRetriever
from commonscale.llama_index import SimilarityStandardizer as NodeStandardizer
from commonscale.llama_index import StandardizedMultiModalRetriever as LlamaIndexRetriever
from langchain_world import QUESTIONS
from naive_methods import METHODS, naive, unit

ASKED = ["what is it?", "where is it?", "how many are there?"]
Found = list[tuple[str, float, float]]


class LlamaIndex:
    """A retriever over LlamaIndex's SimpleVectorStore."""

    def __init__(self, folder: Path) -> None:
        world = llama_world.World()
        self.bank = llama_world.QUESTIONS[:30]
        self.asked = llama_world.QUESTIONS[30:]
        self.data = {
            "text": world.text_vectors,
            "image": world.image_vectors,
            "bank": world.questions[:30],
            "asked": world.questions[30:],
        }
        self.world = world
        self.retriever: Any = self.over(similarity_top_k=7)

    def over(self, **settings: Any) -> LlamaIndexRetriever:
        stores = (llama_world.simple_store(nodes) for nodes in (self.world.text_nodes, self.world.image_nodes))
        return llama_world.retriever_over(self.world, tuple(stores), **settings)

    def found(self, answer: Sequence[NodeWithScore]) -> Found:
        return [(hit.node.node_id, hit.score or 0.0, hit.node.metadata["commonscale_cosine"]) for hit in answer]

    def ask(self, question: str) -> Found:
        return self.found(self.retriever.retrieve(question))

    def aask(self, question: str) -> Found:
        return self.found(asyncio.run(self.retriever.aretrieve(question)))

    def rescored(self, calibration: Calibration, question: str, embed: bool) -> Found:
        # Every hit of a search by raw cosine.
        plain = self.over(similarity_top_k=200, raw=True)
        step = NodeStandardizer(calibration=calibration, embed_model=self.world.model if embed else None)
        return self.found(step.postprocess_nodes(plain.retrieve(question), query_str=question))


class LangChain:
    """A retriever over LangChain's InMemoryVectorStore."""

    def __init__(self, folder: Path) -> None:
        world = langchain_world.World()
        self.bank, self.asked = QUESTIONS[:40], ASKED
        embed = langchain_world.WordEmbeddings().embed_documents
        self.data = {
            "text": unit(world.vectors["text"]),
            "image": unit(world.vectors["image"]),
            "bank": unit(np.array(embed(self.bank))).astype(np.float32),
            "asked": unit(np.array(embed(self.asked))).astype(np.float32),
        }
        self.stores = world.stores("in-memory", "mixed", folder)
        self.embeddings = world.embeddings
        self.retriever: Any = LangChainRetriever(embeddings=world.embeddings, k=7, **self.stores)

    def found(self, answer: Sequence[Any]) -> Found:
        return [(d.id, d.metadata["commonscale_score"], d.metadata["commonscale_cosine"]) for d in answer]

    def ask(self, question: str) -> Found:
        return self.found(self.retriever.invoke(question))

    def aask(self, question: str) -> Found:
        return self.found(asyncio.run(self.retriever.ainvoke(question)))

    def rescored(self, calibration: Calibration, question: str, embed: bool) -> Found:
        plain = LangChainRetriever(embeddings=self.embeddings, k=200, raw=True, **self.stores)
        step = DocumentStandardizer(calibration=calibration, embeddings=self.embeddings if embed else None)
        return self.found(step.compress_documents(plain.invoke(question), question))


@pytest.fixture(params=[LlamaIndex, LangChain])
def framework(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return request.param(tmp_path)


def expected(framework: Any, method: str, place: int, k: int) -> Found:
    scores = naive(framework.data, method)
    pairs = []
    for modality, letter in (("text", "t"), ("image", "i")):
        cosines = framework.data[modality] @ framework.data["asked"][place]
        pairs += [(f"{letter}{i}", s, c) for i, (s, c) in enumerate(zip(scores[modality][place], cosines, strict=True))]
    return sorted(pairs, key=lambda hit: -hit[1])[:k]


def check(found: Found, exact: Found) -> None:
    assert [name for name, *_ in found] == [name for name, *_ in exact]
    np.testing.assert_allclose([f[1:] for f in found], [e[1:] for e in exact], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_one_word(framework: Any, method: str) -> None:
    calibration = framework.retriever.calibrate(framework.bank, method=method)
    assert calibration.method == method
    for place, question in enumerate(framework.asked):
        check(framework.ask(question), expected(framework, method, place, 7))
        check(framework.aask(question), expected(framework, method, place, 7))


def test_it_is_kept_in_files_and_swapped(framework: Any, tmp_path: Path) -> None:
    framework.retriever.calibrate(framework.bank)
    before = framework.ask(framework.asked[0])
    framework.retriever.calibration.save(tmp_path / "kept" / "calibration.json")
    asyncio.run(framework.retriever.acalibrate(framework.bank, method="standardized"))
    assert framework.ask(framework.asked[0]) != before
    framework.retriever.calibration = Calibration.load(tmp_path / "kept" / "calibration.json")
    assert framework.ask(framework.asked[0]) == before


@pytest.mark.parametrize("method", METHODS)
def test_hits_of_other_retrievers_are_put_on_the_scale(framework: Any, method: str) -> None:
    calibration = framework.retriever.calibrate(framework.bank, method=method)
    question = framework.asked[1]
    check(framework.rescored(calibration, question, embed=True), expected(framework, method, 1, 200))
    with pytest.raises(InvalidInputError, match="pass the question, and what embeds it"):
        framework.rescored(calibration, question, embed=False)


class Wants:
    def __init__(self, modality: str) -> None:
        self.modality = modality

    def offsets(self, questions: Sequence[Question]) -> dict[str, np.ndarray]:
        return {self.modality: np.full(len(questions), 100.0)}


def test_a_prior_can_be_given_and_taken_back(framework: Any) -> None:
    framework.retriever.calibrate(framework.bank)
    before = framework.ask(framework.asked[0])
    framework.retriever.prior = Wants("image")
    assert {name[0] for name, *_ in framework.ask(framework.asked[0])} == {"i"}
    assert {name[0] for name, *_ in framework.aask(framework.asked[0])} == {"i"}
    framework.retriever.prior = None
    assert framework.ask(framework.asked[0]) == before


def test_strata_come_with_the_questions(framework: Any) -> None:
    keys = ["even" if i % 2 else "odd" for i in range(len(framework.bank))]
    calibration = framework.retriever.calibrate(framework.bank, strata=keys, method="standardized")
    assert set(calibration.strata) == {"even", "odd"}
    whole = framework.ask(framework.asked[0])
    seen = []

    def stratum(question: Question) -> str:
        seen.append(question.text)
        return "even"

    framework.retriever.stratum = stratum
    own = framework.ask(framework.asked[0])
    assert seen == [framework.asked[0]]
    by_hand = calibration.strata["even"]
    for name, score, cosine in own:
        modality = {"t": "text", "i": "image"}[name[0]]
        assert score == pytest.approx(float(by_hand.standardize([cosine], modality)[0]), abs=1e-6)
    framework.retriever.stratum = "nobody"
    assert framework.ask(framework.asked[0]) == whole


def test_stores_that_cannot_be_read_fall_back_with_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("rank_bm25")
    pytest.importorskip("langchain_community")
    from langchain_community.retrievers import BM25Retriever

    world = langchain_world.World()
    store = world.store("in-memory", ["image"], tmp_path)
    texts = BM25Retriever.from_documents(world.documents("text"), preprocess_func=str.split)
    retriever = LangChainRetriever(text_store=texts, image_store=store, embeddings=world.embeddings)
    with pytest.warns(MethodFallbackWarning, match="'standardized' instead of 'chance'"):
        assert retriever.calibrate([f"t{i} t{i + 1}"[: 4 + i % 4] for i in range(40)]).method == "standardized"
