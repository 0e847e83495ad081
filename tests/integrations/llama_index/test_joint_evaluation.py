"""Retrieval quality over texts and images in one ranking, with LlamaIndex's metrics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.evaluation import MultiModalRetrieverEvaluator, RetrieverEvaluator
from llama_index.core.schema import ImageNode, MediaResource, Node, NodeWithScore, QueryBundle, TextNode

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index import JointRetrieverEvaluator, ModalityBalancer
from llama_world import QUESTIONS, World, two_simple

METRICS = ["hit_rate", "mrr", "precision", "recall", "ap", "ndcg"]


class Fixed(BaseRetriever):
    """Gives for each question what it was told to: ids that begin with i or n are images."""

    def __init__(self, lists: dict[str, list[str]]) -> None:
        super().__init__()
        self._lists = lists
        self.running = self.most = 0

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        nodes: list[Any] = []
        for name in self._lists[query_bundle.query_str]:
            if name.startswith("i"):
                nodes.append(ImageNode(id_=name, image_path="a.png"))
            elif name.startswith("n"):
                nodes.append(Node(id_=name, image_resource=MediaResource(path=Path("a.png"))))
            else:
                nodes.append(TextNode(id_=name, text=f"text of {name}"))
        return [NodeWithScore(node=node, score=1.0) for node in nodes]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return self._retrieve(query_bundle)


@dataclass
class FakeDataset:
    """The two attributes of llama-index-finetuning's EmbeddingQAFinetuneDataset, a package that wants torch."""

    queries: dict[str, str]
    relevant_docs: dict[str, list[str]]


def by_first_letter(node_id: str) -> str:
    return "text" if node_id.startswith("t") else "image"


def evaluator(lists: dict[str, list[str]], **settings: Any) -> JointRetrieverEvaluator:
    return JointRetrieverEvaluator.from_metric_names(METRICS, retriever=Fixed(lists), **settings)


def test_texts_and_images_count_in_one_list() -> None:
    result = evaluator({"q": ["t1", "i1", "n1", "t2"]}, modalities=by_first_letter).evaluate("q", ["n1", "t2", "t9"])
    assert result.retrieved_ids == ["t1", "i1", "n1", "t2"]
    assert result.retrieved_modalities == ["text", "image", "image", "text"]
    assert result.retrieved_texts[0] == "text of t1"
    discounts = [1 / 1.0, 0.6309297535714575, 0.5]  # 1 / log2(rank + 1)
    assert result.metric_vals_dict == pytest.approx(
        {
            "hit_rate": 1.0,
            "mrr": 1 / 3,
            "precision": 2 / 4,
            "recall": 2 / 3,
            "ap": (1 / 3 + 2 / 4) / 3,
            "ndcg": (0.5 + 0.43067655807339306) / sum(discounts),
        }
    )
    image, text = result.modality_vals_dict["image"], result.modality_vals_dict["text"]
    assert (image["mrr"], image["recall"], image["precision"]) == (1 / 3, 1.0, 1 / 4)
    assert (text["mrr"], text["recall"], text["precision"]) == (1 / 4, 1 / 2, 1 / 4)


def test_llama_index_own_evaluators_do_not() -> None:
    lists = {"q": ["t1", "n1", "i1"]}
    own = MultiModalRetrieverEvaluator.from_metric_names(["recall"], retriever=Fixed(lists))
    assert own.evaluate("q", ["n1"]).retrieved_ids == ["t1", "i1"]  # a Node is in no mode, an ImageNode in both
    plain = RetrieverEvaluator.from_metric_names(["recall"], retriever=Fixed(lists))
    with pytest.raises(ValueError, match="TextNode"):
        plain.evaluate("q", ["n1"])
    assert evaluator(lists).evaluate("q", ["n1"]).metric_vals_dict["recall"] == 1.0


async def test_where_only_text_is_found_ours_agrees_with_llama_index() -> None:
    lists = {"q": ["t3", "t1", "t7", "t2"]}
    own = RetrieverEvaluator.from_metric_names(METRICS, retriever=Fixed(lists))
    theirs = await own.aevaluate("q", ["t1", "t2", "t5"])
    ours = await evaluator(lists).aevaluate("q", ["t1", "t2", "t5"])
    assert ours.metric_vals_dict == theirs.metric_vals_dict
    assert (ours.retrieved_ids, ours.retrieved_texts) == (theirs.retrieved_ids, theirs.retrieved_texts)
    assert str(ours) == str(theirs)


def test_nothing_retrieved_scores_zero() -> None:
    result = evaluator({"q": []}, modalities=by_first_letter).evaluate("q", ["t1"])
    assert result.metric_vals_dict == dict.fromkeys(METRICS, 0.0)
    assert result.modality_vals_dict == {"text": dict.fromkeys(METRICS, 0.0)}
    own = RetrieverEvaluator.from_metric_names(METRICS, retriever=Fixed({"q": []}))
    with pytest.raises(ValueError, match="must be provided"):
        own.evaluate("q", ["t1"])


def test_a_node_that_comes_twice_counts_at_its_first_place() -> None:
    result = evaluator({"q": ["t1", "i1", "i1", "t1"]}).evaluate("q", ["i1", "i1"])
    assert result.retrieved_ids == ["t1", "i1"]
    assert result.metric_vals_dict["ap"] == 1 / 2
    assert result.metric_vals_dict["precision"] == 1 / 2


def test_postprocessors_are_applied() -> None:
    balancer = ModalityBalancer(maximum={"text": 1})
    result = evaluator({"q": ["t1", "t2", "i1"]}, node_postprocessors=[balancer]).evaluate("q", ["i1"])
    assert result.retrieved_ids == ["t1", "i1"]


LISTS = {"a": ["t1", "i1"], "b": ["i2", "t2"], "c": ["t3", "i3"], "d": []}
EXPECTED = {"a": ["t1"], "b": ["t2"], "c": ["i3"], "d": ["i4", "t4"]}


@pytest.mark.parametrize("form", ["mapping", "pairs", "dataset"])
def test_a_dataset_gives_means_over_all_and_by_modality(form: str) -> None:
    dataset: Any = EXPECTED
    if form == "pairs":
        dataset = iter(EXPECTED.items())
    elif form == "dataset":
        queries = {f"q{key}": key for key in EXPECTED}
        relevant = {f"q{key}": ids for key, ids in EXPECTED.items()}
        dataset = FakeDataset(queries, relevant)
    modalities = {node_id: by_first_letter(node_id) for ids in EXPECTED.values() for node_id in ids}
    evaluation = evaluator(LISTS, modalities=modalities).evaluate_dataset(dataset)
    assert [result.query for result in evaluation.results] == list(EXPECTED)
    assert evaluation.counts == {"all": 4, "text": 3, "image": 2}
    means = evaluation.means
    assert list(means) == ["all", "text", "image"]
    assert means["all"]["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 2 + 0) / 4)
    assert means["text"]["mrr"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert means["image"]["mrr"] == pytest.approx((1 / 2 + 0) / 2)
    lines = str(evaluation).splitlines()
    assert lines[0].split() == ["expected", "questions", *METRICS]
    assert lines[1].split()[:3] == ["all", "4", "0.750"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("workers", [1, 3])
async def test_as_many_questions_are_asked_at_once_as_there_are_workers(workers: int) -> None:
    made = evaluator({str(i): ["t1"] for i in range(10)})
    evaluation = await made.aevaluate_dataset({str(i): ["t1"] for i in range(10)}, workers=workers)
    assert len(evaluation.results) == 10
    assert isinstance(made.retriever, Fixed)
    assert made.retriever.most == workers


async def test_an_error_ends_the_evaluation() -> None:
    made = evaluator({"known": ["t1"]})
    with pytest.raises(KeyError, match="unknown"):
        await made.aevaluate_dataset({"unknown": ["t1"], **{f"{i}": ["t1"] for i in range(5)}})
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]


def test_the_real_retriever_standardized_against_raw() -> None:
    world = World()
    retriever = two_simple(world)
    ids = [node.node_id for node in (*world.text_nodes, *world.image_nodes)]
    cosines = {question: world.cosines(i) for i, question in enumerate(QUESTIONS)}
    best = {
        question: [max((name for name in ids if name[0] == kind), key=of.__getitem__) for kind in "ti"]
        for question, of in cosines.items()
    }
    made = JointRetrieverEvaluator.from_metric_names(["recall"], retriever=retriever, modalities=by_first_letter)
    standardized = made.evaluate_dataset(best).means
    retriever.raw = True
    raw = made.evaluate_dataset(best).means
    assert raw["text"]["recall"] == 1.0
    assert raw["image"]["recall"] < standardized["image"]["recall"]
    assert raw["all"]["recall"] < standardized["all"]["recall"]


def test_mistakes_are_told() -> None:
    made: Any = evaluator({"q": ["t1"]}, modalities={"t1": "text"})
    with pytest.raises(InvalidInputError, match="no expected ids for 'q'"):
        made.evaluate("q", [])
    with pytest.raises(InvalidInputError, match="does not tell the modality of the expected node 'i1'"):
        made.evaluate("q", ["i1"])
    with pytest.raises(InvalidInputError, match=r"scored in one list"):
        made.evaluate("q", ["t1"], mode="image")
    with pytest.raises(InvalidInputError, match="workers must be an integer of at least 1, got 0"):
        made.evaluate_dataset({"q": ["t1"]}, workers=0)
    with pytest.raises(InvalidInputError, match="no questions"):
        made.evaluate_dataset({})
