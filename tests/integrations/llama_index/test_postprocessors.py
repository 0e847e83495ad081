from __future__ import annotations

import copy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.embeddings import MockEmbedding
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, IndexNode, MediaResource, Node, NodeWithScore, QueryBundle, TextNode

from commonscale import Calibration, ModalityCalibration, ModalityStatistics
from commonscale.core.errors import (
    CommonscaleWarning,
    InvalidInputError,
    ScoreOutOfRangeError,
    UnknownScoreKindError,
)
from commonscale.llama_index import ModalityBalancer, SimilarityStandardizer, StandardizedMultiModalRetriever
from commonscale.llama_index.questions import bundle_mark
from commonscale.llama_index.recompute import picture_of
from llama_world import DIMENSION, QUESTIONS, FixedEmbedding, World, pairs, two_simple

CALIBRATION = Calibration(
    {
        "text": ModalityCalibration(ModalityStatistics(0.8, 0.1, 100)),
        "image": ModalityCalibration(ModalityStatistics(0.3, 0.05, 100)),
    }
)


def text(name: str, score: float | None, **settings: Any) -> NodeWithScore:
    return NodeWithScore(node=TextNode(id_=name, text=name, **settings), score=score)


def image(name: str, score: float | None, **settings: Any) -> NodeWithScore:
    return NodeWithScore(node=ImageNode(id_=name, image_path=f"{name}.png", **settings), score=score)


MIXED = [text("t1", 0.9), text("t2", 0.7), image("i1", 0.37), image("i2", 0.24)]
STANDARDIZED = {"i1": 1.4, "t1": 1.0, "t2": -1.0, "i2": -1.2}


async def test_standardizes_and_sorts() -> None:
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, score_kind="cosine")
    before = copy.deepcopy(MIXED)
    for found in (
        standardizer.postprocess_nodes(MIXED),
        standardizer.postprocess_nodes(MIXED, query_str="any"),
        await standardizer.apostprocess_nodes(MIXED),
    ):
        assert [n.node.node_id for n in found] == list(STANDARDIZED)
        assert [n.score for n in found] == pytest.approx(list(STANDARDIZED.values()))
        assert found[0].node.metadata["commonscale_cosine"] == pytest.approx(0.37)
    assert before == MIXED
    assert standardizer.postprocess_nodes([]) == []


def test_score_kind_by_modality() -> None:
    standardizer = SimilarityStandardizer(
        calibration=CALIBRATION, score_kind={"text": "squared_l2", "image": "cosine_distance"}
    )
    found = standardizer.postprocess_nodes([text("t1", 0.2), image("i1", 0.63)])
    assert dict(pairs(found)) == pytest.approx({"t1": 1.0, "i1": 1.4})


def test_probabilities() -> None:
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, score_kind="cosine", probability=True)
    found = standardizer.postprocess_nodes(MIXED)
    assert [n.node.node_id for n in found] == list(STANDARDIZED)
    assert [n.score for n in found] == pytest.approx([0.9192433, 0.8413447, 0.1586553, 0.1150697])


def test_rescored_hits_are_not_rescored_again() -> None:
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, score_kind="cosine")
    once = standardizer.postprocess_nodes(MIXED)
    assert pairs(standardizer.postprocess_nodes(once)) == pairs(once)
    replaced = [NodeWithScore(node=once[0].node, score=0.3)]  # by a reranker, say
    assert standardizer.postprocess_nodes(replaced)[0].score == pytest.approx(0.0)


def test_the_record_of_another_question_is_not_used() -> None:
    world = World()
    retriever = two_simple(world)
    assert retriever.calibration is not None
    found = retriever.retrieve(QUESTIONS[0])
    plain = SimilarityStandardizer(calibration=retriever.calibration, score_kind="cosine")
    for same in (
        plain.postprocess_nodes(found, query_str=QUESTIONS[0]),
        plain.postprocess_nodes(found),  # whose score it is, only the score can tell
        plain.postprocess_nodes(found, QueryBundle(QUESTIONS[0], custom_embedding_strs=["a guess at the answer"])),
    ):
        assert pairs(same) == pairs(found)
        assert [n.node.metadata for n in same] == [n.node.metadata for n in found]
    with pytest.raises(InvalidInputError, match="was not made for the question passed"):
        plain.postprocess_nodes(found, query_str=QUESTIONS[1])
    recomputing = SimilarityStandardizer(calibration=retriever.calibration, embed_model=world.model)
    again = recomputing.postprocess_nodes(found, query_str=QUESTIONS[1])
    assert {n.node.node_id: n.node.metadata["commonscale_cosine"] for n in again} == pytest.approx(
        {n.node.node_id: world.cosines(1)[n.node.node_id] for n in found}, abs=1e-5
    )
    assert pairs(plain.postprocess_nodes(again, query_str=QUESTIONS[1])) == pairs(again)


async def test_every_way_to_retrieve_records_the_question() -> None:
    world = World()
    retriever = two_simple(world)
    bundle = QueryBundle(QUESTIONS[3])
    answers = [
        retriever.retrieve(bundle),
        await retriever.aretrieve(bundle),
        *retriever.retrieve_batch([bundle]),
        *await retriever.aretrieve_batch([bundle]),
        retriever.text_retrieve(bundle),
        await retriever.atext_retrieve(bundle),
        retriever.text_to_image_retrieve(bundle),
        await retriever.atext_to_image_retrieve(bundle),
    ]
    standardizer = SimilarityStandardizer(calibration=retriever.calibration)
    for found in answers:
        assert pairs(standardizer.postprocess_nodes(found, bundle)) == pairs(found)
        with pytest.raises(InvalidInputError, match="was not made for the question passed"):
            standardizer.postprocess_nodes(found, QueryBundle(QUESTIONS[4]))


def test_a_stored_record_with_an_equal_score_is_not_used() -> None:
    # Probabilities saturate: 1.0 recorded for one question, 1.0 given by another retriever for the next.
    stale = {
        "commonscale_score": 1.0,
        "commonscale_cosine": 0.1,
        "commonscale_modality": "text",
        "commonscale_question": bundle_mark(QueryBundle("then")),
    }
    hit = text("t", 1.0, metadata=stale, embedding=[1.0, 0.0])
    model = FixedEmbedding(vectors={"now": [0.8, 0.6]})
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, embed_model=model)
    found = standardizer.postprocess_nodes([hit], query_str="now")
    assert found[0].node.metadata["commonscale_cosine"] == pytest.approx(0.8)
    assert found[0].node.metadata["commonscale_question"] == bundle_mark(QueryBundle("now"))


def test_a_stale_mark_is_dropped_with_its_score() -> None:
    stale = {"commonscale_score": 1.0, "commonscale_question": bundle_mark(QueryBundle("then"))}
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, score_kind="cosine")
    found = standardizer.postprocess_nodes([text("t", 0.9, metadata=stale)])
    assert "commonscale_question" not in found[0].node.metadata


def test_questions_without_words_are_told_apart_by_what_is_embedded() -> None:
    bundles = [
        QueryBundle("", embedding=[1.0, 0.0]),
        QueryBundle("", embedding=[0.0, 1.0]),
        QueryBundle(" ", custom_embedding_strs=["a"]),
        QueryBundle("a"),
        QueryBundle("b"),
    ]
    assert len({bundle_mark(bundle) for bundle in bundles}) == len(bundles)


def test_an_index_node_at_exactly_zero_keeps_its_record() -> None:
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, score_kind="cosine")
    once = standardizer.postprocess_nodes([NodeWithScore(node=IndexNode(index_id="x", text="a"), score=0.8)])
    assert once[0].node.metadata["commonscale_cosine"] == pytest.approx(0.8)
    assert 0.0 < once[0].get_score() < 1e-300
    assert pairs(standardizer.postprocess_nodes(once)) == pairs(once)


def test_a_model_for_images_alone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="image_embed_model= needs embed_model="):
        SimilarityStandardizer(calibration=CALIBRATION, score_kind="cosine", image_embed_model=MockEmbedding(4))


def test_the_best_of_a_repeated_node_is_kept() -> None:
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, score_kind="cosine")
    found = standardizer.postprocess_nodes([image("i", 0.2), image("i", 0.4), text("t", 0.8)])
    assert pairs(found) == [("i", pytest.approx(2.0)), ("t", pytest.approx(0.0))]


@pytest.mark.parametrize(
    ("settings", "node", "error", "message"),
    [
        ({"score_kind": "cosine"}, text("t", None), InvalidInputError, "'t' has no score"),
        ({"score_kind": "cosine"}, text("t", 7.4), ScoreOutOfRangeError, "7.4"),
        ({}, text("t", 0.5), UnknownScoreKindError, "what the score 0.5 of the 'text' node 't' means is not known"),
        ({"score_kind": {"text": "cosine"}}, image("i", 0.5), UnknownScoreKindError, "'image' node 'i'"),
        ({"embed_model": MockEmbedding(4)}, text("t", 0.5), InvalidInputError, "without the question"),
    ],
)
def test_nothing_is_guessed(settings: dict, node: NodeWithScore, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        SimilarityStandardizer(calibration=CALIBRATION, **settings).postprocess_nodes([node])


def test_unknown_score_kinds_are_refused_at_once() -> None:
    with pytest.raises(UnknownScoreKindError, match="'relevance'"):
        SimilarityStandardizer(calibration=CALIBRATION, score_kind={"text": "relevance"})


async def test_rescoring_the_retriever_of_llamaindex() -> None:
    """Its concatenated hits become the joint ranking, and its bundle with the image embedding does no harm."""
    world = World()
    calibration = two_simple(world).calibration
    index = MultiModalVectorStoreIndex(
        [*world.text_nodes, *world.image_nodes], embed_model=world.model, image_embed_model=world.model
    )
    theirs = index.as_retriever(similarity_top_k=10, image_similarity_top_k=10).retrieve(QUESTIONS[0])
    assert [n.node.node_id[0] for n in theirs] == ["t"] * 10 + ["i"] * 10
    found = SimilarityStandardizer(calibration=calibration, score_kind="cosine").postprocess_nodes(theirs)
    assert [i for i, _ in pairs(found)][:10] == [i for i, _ in world.ranking(0, 10)]


def test_recomputing_gives_a_captioned_image_the_score_of_its_picture() -> None:
    axis = np.eye(DIMENSION).tolist()
    vectors = {"question": axis[0], "a caption": axis[2], "picture.png": axis[0], "some text": axis[1]}
    model = FixedEmbedding(vectors=vectors)
    nodes = [ImageNode(id_="c", text="a caption", image_path="picture.png"), TextNode(id_="t", text="some text")]
    index = MultiModalVectorStoreIndex(nodes, embed_model=model, image_embed_model=model)
    bundle = QueryBundle("question")
    theirs = index.as_retriever(similarity_top_k=5, image_similarity_top_k=5).retrieve(copy.copy(bundle))
    assert {n.node.node_id: n.score for n in theirs}["c"] == pytest.approx(0.0)
    found = SimilarityStandardizer(calibration=CALIBRATION, embed_model=model).postprocess_nodes(theirs, bundle)
    assert {n.node.node_id: n.node.metadata["commonscale_cosine"] for n in found} == pytest.approx({"c": 1.0, "t": 0.0})
    assert bundle.embedding is None


def test_recomputing_prefers_the_embedding_of_a_node() -> None:
    axis = np.eye(DIMENSION).tolist()
    model = FixedEmbedding(vectors={"question": axis[0]})
    hits = [text("t", None, embedding=axis[0]), image("i", 3.5, embedding=axis[1])]
    found = SimilarityStandardizer(calibration=CALIBRATION, embed_model=model).postprocess_nodes(
        hits, query_str="question"
    )
    assert {n.node.node_id: n.node.metadata["commonscale_cosine"] for n in found} == {"t": 1.0, "i": 0.0}
    assert model.calls == ["question"]


def test_recomputing_needs_a_model_for_images() -> None:
    standardizer = SimilarityStandardizer(calibration=CALIBRATION, embed_model=MockEmbedding(4))
    with pytest.raises(InvalidInputError, match="MockEmbedding cannot embed images"):
        standardizer.postprocess_nodes([image("i", 0.2)], query_str="question")
    with pytest.raises(InvalidInputError, match="no embedding model for modality 'audio'"):
        standardizer.postprocess_nodes([text("a", 0.2, metadata={"modality": "audio"})], query_str="question")


@pytest.mark.parametrize(
    ("node", "picture"),
    [
        (ImageNode(image="aGVsbG8="), b"hello"),
        (ImageNode(image_path="a.png"), "a.png"),
        (Node(image_resource=MediaResource(data=b"aGVsbG8=")), b"hello"),
        (Node(image_resource=MediaResource(path=Path("b.png"))), "b.png"),
    ],
)
def test_pictures_of_nodes(node: Any, picture: bytes | str) -> None:
    found = picture_of(node)
    assert (found.getvalue() if isinstance(found, BytesIO) else found) == picture


@pytest.mark.parametrize("node", [ImageNode(image_url="http://127.0.0.1:9/a.png"), ImageNode(), TextNode(text="a")])
def test_no_picture_is_downloaded(node: Any) -> None:
    with pytest.raises(InvalidInputError, match="URLs are not downloaded"):
        picture_of(node)


def test_standardizer_round_trip(tmp_path: Path) -> None:
    CALIBRATION.save(tmp_path / "calibration.json")
    given = SimilarityStandardizer(
        calibration=tmp_path / "calibration.json",
        score_kind={"text": "cosine", "image": "inner_product"},
        embed_model=MockEmbedding(4),
        probability=True,
        modality_key="kind",
    )
    assert given.calibration == CALIBRATION
    assert "embed_model" not in given.to_dict()
    for again in (SimilarityStandardizer.from_dict(given.to_dict()), SimilarityStandardizer.from_json(given.to_json())):
        assert again == given.model_copy(update={"embed_model": None, "callback_manager": again.callback_manager})
    assert given.to_dict()["class_name"] == "SimilarityStandardizer"


async def test_balancer() -> None:
    nodes = [text(f"t{i}", 1 - i / 10) for i in range(6)] + [image(f"i{i}", 0.3 - i / 10) for i in range(4)]
    before = copy.deepcopy(nodes)
    balancer = ModalityBalancer(minimum={"image": 2}, maximum={"text": 3}, top_n=5)
    for found in (balancer.postprocess_nodes(nodes), await balancer.apostprocess_nodes(nodes, query_str="any")):
        assert [n.node.node_id for n in found] == ["t0", "t1", "t2", "i0", "i1"]
        assert all(a is b for a, b in zip(found[:3], nodes[:3], strict=True))
    assert nodes == before
    assert ModalityBalancer().postprocess_nodes(nodes) == nodes
    assert [n.node.node_id for n in ModalityBalancer(top_n=1, minimum={"image": 1}).postprocess_nodes(nodes)] == ["i0"]
    assert balancer.postprocess_nodes([]) == []


def test_balancer_warns_of_a_minimum_that_cannot_be_met() -> None:
    balancer = ModalityBalancer(minimum={"image": 2, "text": 1})
    nodes = [text("t", 0.9), image("i", 0.3), image("i", 0.2)]
    message = r"minimum\['image'\] is 2, but only 1 of the 2 .*retrieve more: raise .*similarity_top_k, or give minimum"
    with pytest.warns(CommonscaleWarning, match=message) as caught:
        assert [n.node.node_id for n in balancer.postprocess_nodes(nodes)] == ["t", "i"]
    assert len(caught) == 1
    assert len(balancer.postprocess_nodes([*nodes, image("j", 0.1)])) == 3
    assert balancer.postprocess_nodes([]) == []


def test_balancer_keeps_an_order_that_a_reranker_made() -> None:
    nodes = [image("i", None), text("t", 0.9), text("t", 0.1)]
    assert [n.node.node_id for n in ModalityBalancer(top_n=2).postprocess_nodes(nodes)] == ["i", "t"]


def test_balancer_falls_back_to_the_modality_that_a_node_was_found_in() -> None:
    found = {"commonscale_modality": "audio"}
    nodes = [text("a1", 0.9, metadata=found), text("t", 0.8), text("a2", 0.7, metadata=found)]
    nodes.append(text("said", 0.6, metadata={"modality": "table", **found}))
    balancer = ModalityBalancer(maximum={"audio": 1})
    assert [n.node.node_id for n in balancer.postprocess_nodes(nodes)] == ["a1", "t", "said"]
    balancer = ModalityBalancer(maximum={"text": 0, "table": 0})
    assert [n.node.node_id for n in balancer.postprocess_nodes(nodes)] == ["a1", "a2"]


def test_balancer_counts_a_captioned_image_as_an_image() -> None:
    caption = image("c", 0.9, text="a caption", metadata={"commonscale_modality": "text"})
    named = text("n", 0.8, metadata={"kind": "image"})
    balancer = ModalityBalancer(maximum={"image": 1}, modality_key="kind")
    assert [n.node.node_id for n in balancer.postprocess_nodes([caption, named, text("t", 0.1)])] == ["c", "t"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minimum": {"image": -1}}, "must be an integer >= 0"),
        ({"minimum": {"image": 3}, "maximum": {"image": 2}}, "above its maximum"),
        ({"minimum": {"image": 3, "text": 3}, "top_n": 5}, "add up to 6"),
        ({"top_n": 0}, "top_n must be at least 1"),
    ],
)
def test_balancer_with_impossible_quotas(settings: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ModalityBalancer(**settings)


def test_balancer_round_trip() -> None:
    given = ModalityBalancer(minimum={"image": 2}, maximum={"text": 3}, top_n=5, modality_key="kind")
    data = given.to_dict()
    assert data == {
        "class_name": "ModalityBalancer",
        "minimum": {"image": 2},
        "maximum": {"text": 3},
        "top_n": 5,
        "modality_key": "kind",
    }
    again = ModalityBalancer.from_dict(data)
    assert again.to_dict() == data


def test_classes_have_the_bases_that_llamaindex_looks_for() -> None:
    for cls, base in (
        (StandardizedMultiModalRetriever, "MultiModalRetriever"),
        (SimilarityStandardizer, "BaseNodePostprocessor"),
        (ModalityBalancer, "BaseNodePostprocessor"),
    ):
        assert base in [b.__name__ for b in cls.__mro__]
