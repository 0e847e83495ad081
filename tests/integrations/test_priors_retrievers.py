"""Priors through both frameworks' retrievers: the same hits, with their scores moved by the offsets."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import langchain_world
import llama_world
from commonscale import Question
from commonscale.core.errors import (
    EncoderMismatchError,
    FewQuestionsWarning,
    InvalidInputError,
    NotCalibratedError,
    PriorWarning,
)
from commonscale.langchain import StandardizedMultiModalRetriever as LangChainRetriever
from commonscale.priors import (
    FunctionPrior,
    LabeledPrior,
    LinearPrior,
    PromptPrior,
    SelfTaughtPrior,
    best_scores,
    strength_of,
)

ALL = 200


class LlamaIndex:
    """A retriever over LlamaIndex's SimpleVectorStore."""

    def __init__(self, folder: Path) -> None:
        world = llama_world.World()
        stores = tuple(llama_world.simple_store(nodes) for nodes in (world.text_nodes, world.image_nodes))
        self.made = partial(llama_world.retriever_over, world, stores, similarity_top_k=ALL)
        self.retriever: Any = self.made()
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
        world.embeddings.fingerprint = "words"  # type: ignore[attr-defined]
        stores = world.stores("in-memory", "mixed", folder)
        self.made = partial(LangChainRetriever, embeddings=world.embeddings, k=ALL, **stores)
        self.retriever: Any = self.made()
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


def test_questions_are_embedded_as_they_are_searched_with(framework: Any) -> None:
    retriever, texts = framework.retriever, framework.bank
    found = retriever.embed_questions(texts)
    assert [(question.text, question.kind) for question in found] == [(text, "text") for text in texts]
    rows = framework.vectors(texts)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose([question.vector for question in found], rows, atol=1e-6)
    again = asyncio.run(retriever.aembed_questions(texts))
    np.testing.assert_array_equal([q.vector for q in again], [q.vector for q in found])
    assert retriever.embed_questions([]) == []
    with pytest.raises(InvalidInputError, match="put it into a list"):
        retriever.embed_questions("who?")


def test_embedding_shows_its_progress(framework: Any, capsys: pytest.CaptureFixture[str]) -> None:
    framework.retriever.embed_questions(framework.bank, show_progress=True)
    assert "mbedding" in capsys.readouterr().err


def test_the_search_is_that_of_the_scale_prior_and_stratum_in_use(framework: Any) -> None:
    retriever, question = framework.retriever, framework.asked[0]
    retriever.prior = prior = FunctionPrior(lambda _: 0.9, strength=1.0)
    search = retriever.joint_search
    ranking = search.search(retriever.embed_questions([question])[0], ALL)
    assert {hit.id: hit.score for hit in ranking} == pytest.approx(framework.ask(question))
    assert search.calibration is retriever.calibration
    assert search.prior is prior
    retriever.stratum = "de"
    assert (search.stratum, retriever.joint_search.stratum) == (None, "de")
    with pytest.raises(AttributeError):
        retriever.joint_search = search


def test_the_search_is_a_copy(framework: Any) -> None:
    retriever, question = framework.retriever, framework.asked[0]
    before, calibration = framework.ask(question), retriever.calibration
    search = retriever.joint_search
    search.prior = FunctionPrior(lambda _: 0.9, strength=1.0)
    search.calibration = None
    assert retriever.calibration is calibration
    assert retriever.prior is None
    assert framework.ask(question) == before
    retriever.calibration = None
    assert retriever.joint_search.calibration is None


def test_questions_of_the_search_are_not_watched(framework: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = framework.retriever
    watched: list[str] = []
    monitor = retriever.watch_drift(framework.bank, policy="report")
    monkeypatch.setattr(monitor, "observe_found", lambda asked, _: watched.extend(question.text for question in asked))
    asked = retriever.embed_questions(framework.asked[:5])
    best_scores(retriever.joint_search, asked)
    assert watched == []
    framework.ask(framework.asked[0])
    assert watched == framework.asked[:1]


def test_priors_are_learned_from_a_retriever(framework: Any) -> None:
    retriever, question = framework.retriever, framework.asked[0]
    questions = retriever.embed_questions(framework.bank)
    vectors = framework.vectors(framework.bank)
    labeled = LabeledPrior.fit(questions, ["text" if vector[1] > 0 else "image" for vector in vectors])
    before = framework.ask(question)
    retriever.prior = labeled.scaled_to(retriever.calibration)
    half = float(retriever.prior.offsets(retriever.embed_questions([question]))["text"][0])
    assert half != 0
    moved(before, framework.ask(question), half)
    with pytest.warns(FewQuestionsWarning, match="different questions are too few to learn"):
        retriever.prior = SelfTaughtPrior.fit(questions, best_scores(retriever.joint_search, questions))
    assert framework.ask(question) == pytest.approx(before)


REFUSED = [
    (object, InvalidInputError, r"offsets\(questions\)"),
    (lambda: FunctionPrior(len, ("text", "picture"), strength=1.0), InvalidInputError, r"'picture'\].*'image', 'text'"),
    (lambda: FunctionPrior(len), NotCalibratedError, r"prior.scaled_to\(retriever.calibration\)"),
    (
        lambda: LinearPrior(("text", "image"), np.eye(2), np.zeros(2), strength=1.0, fingerprint="other"),
        EncoderMismatchError,
        "embeddings of encoder 'other', not of",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_a_prior_that_does_not_fit_is_refused_when_it_is_assigned(
    framework: Any, make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        framework.retriever.prior = make()
    assert framework.retriever.prior is None
    framework.ask(framework.asked[0])


@pytest.mark.parametrize(("make", "error", "message"), REFUSED[1:])
def test_a_prior_that_does_not_fit_is_refused_when_the_retriever_is_made(
    framework: Any, make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        framework.made(prior=make())


def test_a_scale_of_another_method_is_warned_of(framework: Any) -> None:
    retriever = framework.retriever
    prior = FunctionPrior(lambda _: 0.9).scaled_to(retriever.calibration)
    retriever.prior = prior
    retriever.calibrate(framework.bank)
    with pytest.warns(PriorWarning, match=r"by method 'standardized'.*scaled_to\(calibration\)") as found:
        retriever.calibrate(framework.bank, method="standardized")
    assert len(found) == 1
    framework.ask(framework.asked[0])
    with pytest.warns(PriorWarning):
        retriever.prior = prior
    with pytest.warns(PriorWarning):
        framework.made(prior=prior, calibration=retriever.calibration)
    retriever.prior = prior.scaled_to(retriever.calibration)
    retriever.prior = None
