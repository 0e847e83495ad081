"""Priors through both frameworks' retrievers: the same hits, with their scores moved by the offsets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import langchain_world
import llama_world
from commonscale import Question
from commonscale.langchain import StandardizedMultiModalRetriever as LangChainRetriever
from commonscale.priors import FunctionPrior, LabeledPrior, PromptPrior, strength_of

ALL = 200


class LlamaIndex:
    """A retriever over LlamaIndex's SimpleVectorStore."""

    def __init__(self, folder: Path) -> None:
        world = llama_world.World()
        stores = tuple(llama_world.simple_store(nodes) for nodes in (world.text_nodes, world.image_nodes))
        self.retriever: Any = llama_world.retriever_over(world, stores, similarity_top_k=ALL)
        self.bank, self.asked = llama_world.QUESTIONS[:30], llama_world.QUESTIONS[30:]

    def vectors(self, questions: list[str]) -> np.ndarray:
        return np.array([llama_world.World().model.get_query_embedding(question) for question in questions])

    def scores(self, answer: Any) -> dict[str, float]:
        return {hit.node.node_id: hit.score for hit in answer}

    def ask(self, question: str) -> dict[str, float]:
        return self.scores(self.retriever.retrieve(question))

    def aask(self, question: str) -> dict[str, float]:
        return self.scores(asyncio.run(self.retriever.aretrieve(question)))


class LangChain:
    """A retriever over LangChain's InMemoryVectorStore."""

    def __init__(self, folder: Path) -> None:
        world = langchain_world.World()
        self.retriever: Any = LangChainRetriever(
            embeddings=world.embeddings, k=ALL, **world.stores("in-memory", "mixed", folder)
        )
        self.bank, self.asked = langchain_world.QUESTIONS[:40], langchain_world.QUESTIONS[40:]

    def vectors(self, questions: list[str]) -> np.ndarray:
        return np.array(langchain_world.WordEmbeddings().embed_documents(questions))

    def scores(self, answer: Any) -> dict[str, float]:
        return {document.id: document.metadata["commonscale_score"] for document in answer}

    def ask(self, question: str) -> dict[str, float]:
        return self.scores(self.retriever.invoke(question))

    def aask(self, question: str) -> dict[str, float]:
        return self.scores(asyncio.run(self.retriever.ainvoke(question)))


@pytest.fixture(params=[LlamaIndex, LangChain])
def framework(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = request.param(tmp_path)
    made.retriever.calibrate(made.bank)
    return made


def moved(before: dict[str, float], after: dict[str, float], half: float) -> None:
    """Check that every text's score rose by ``half`` and every image's fell by it, best first."""
    expected = {name: score + (half if name.startswith("t") else -half) for name, score in before.items()}
    assert after == pytest.approx(expected, abs=1e-6)
    assert list(after.values()) == sorted(after.values(), reverse=True)


def test_a_function_moves_the_scores_by_what_it_says(framework: Any) -> None:
    one, two, three = framework.asked[:3]
    before = {question: framework.ask(question) for question in (one, two, three)}
    odds = {one: 2.0, two: -1.0, three: 0.0}
    prior = FunctionPrior(odds.__getitem__, gives="log-odds").scaled_to(framework.retriever.calibration)
    framework.retriever.prior = prior
    assert prior.strength == strength_of(framework.retriever.calibration)
    for question, said in odds.items():
        moved(before[question], framework.ask(question), said * prior.strength / 2)
        moved(before[question], framework.aask(question), said * prior.strength / 2)


def test_a_coroutine_function_serves_every_way_of_asking(framework: Any) -> None:
    async def says(text: str) -> float:
        await asyncio.sleep(0)
        return 0.9

    question = framework.asked[0]
    before = framework.ask(question)
    framework.retriever.prior = FunctionPrior(says, strength=1.0)
    moved(before, framework.ask(question), np.log(9) / 2)
    moved(before, framework.aask(question), np.log(9) / 2)


def test_a_prior_from_labels_takes_the_vectors_that_questions_are_searched_with(framework: Any) -> None:
    vectors = framework.vectors(framework.bank)
    questions = [Question(t, v.astype(np.float32)) for t, v in zip(framework.bank, vectors, strict=True)]
    labels = ["text" if vector[1] > 0 else "image" for vector in vectors]
    prior = LabeledPrior.fit(questions, labels).scaled_to(framework.retriever.calibration)
    question = framework.asked[1]
    vector = framework.vectors([question])[0].astype(np.float32)
    half = float(prior.offsets([Question(question, vector)])["text"][0])
    before = framework.ask(question)
    framework.retriever.prior = prior
    moved(before, framework.ask(question), half)


def test_a_language_model_is_asked_once_for_each_question(framework: Any) -> None:
    prompts = []

    def model(prompt: str) -> str:
        prompts.append(prompt)
        return "1: text=20 image=80"

    question = framework.asked[0]
    before = framework.ask(question)
    framework.retriever.prior = PromptPrior(model, strength=0.5)
    for ask in (framework.ask, framework.aask, framework.ask):
        moved(before, ask(question), -np.log(4) / 4)
    assert len(prompts) == 1
