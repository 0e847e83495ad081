"""One behavioural suite over every store and layout, against brute force in numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, QueryBundle, TextNode

from commonscale import Calibration
from commonscale.core.errors import InvalidInputError, NotCalibratedError
from commonscale.llama_index import StandardizedMultiModalRetriever
from commonscale.llama_index.questions import bundle_mark
from llama_world import (
    DIMENSION,
    IMAGES,
    QUESTIONS,
    TEXTS,
    World,
    faiss_store,
    pairs,
    retriever_over,
    simple_store,
    two_simple,
)

Build = Callable[[World, Path], StandardizedMultiModalRetriever]


def own_index(world: World, folder: Path) -> StandardizedMultiModalRetriever:
    pytest.importorskip("faiss")
    from commonscale.index import Document, FaissIndex

    index = FaissIndex.create(folder / "index", DIMENSION)
    nodes = [*world.text_nodes, *world.image_nodes]
    documents = [
        Document(
            node.node_id,
            "image" if isinstance(node, ImageNode) else "text",
            text=node.get_content(),
            path=getattr(node, "image_path", None),
            metadata=node.metadata,
        )
        for node in nodes
    ]
    index.add(documents, np.array([node.embedding for node in nodes], dtype=np.float32))
    return StandardizedMultiModalRetriever(text_store=index, image_store=index, embed_model=world.model)


def own_index_mixed(world: World, folder: Path) -> StandardizedMultiModalRetriever:
    index = own_index(world, folder)._sources["text"]._source.index
    return StandardizedMultiModalRetriever(store=index, embed_model=world.model)


def multimodal_index(world: World, folder: Path) -> StandardizedMultiModalRetriever:
    index = MultiModalVectorStoreIndex(
        [*world.text_nodes, *world.image_nodes], embed_model=world.model, image_embed_model=world.model
    )
    return StandardizedMultiModalRetriever.from_index(index)


def multimodal_index_over_faiss(world: World, folder: Path) -> StandardizedMultiModalRetriever:
    index = MultiModalVectorStoreIndex(
        [*world.text_nodes, *world.image_nodes],
        storage_context=StorageContext.from_defaults(vector_store=faiss_store([])),
        embed_model=world.model,
        image_embed_model=world.model,
    )
    return StandardizedMultiModalRetriever.from_index(index)


def mixed_index(world: World, metric: str | None) -> StandardizedMultiModalRetriever:
    store = simple_store([]) if metric is None else faiss_store([], metric)
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(world.mixed_nodes, storage_context=context, embed_model=world.model)
    return StandardizedMultiModalRetriever.from_index(index)


LAYOUTS: dict[str, Build] = {
    "two-simple": lambda w, _: retriever_over(w, (simple_store(w.text_nodes), simple_store(w.image_nodes))),
    "two-faiss-ip": lambda w, _: retriever_over(w, (faiss_store(w.text_nodes), faiss_store(w.image_nodes))),
    "two-faiss-l2": lambda w, _: retriever_over(w, (faiss_store(w.text_nodes, "L2"), faiss_store(w.image_nodes, "L2"))),
    "two-kinds": lambda w, _: retriever_over(w, (faiss_store(w.text_nodes, "L2"), faiss_store(w.image_nodes))),
    "two-own": own_index,
    "mixed-simple": lambda w, _: retriever_over(w, (simple_store(w.mixed_nodes),)),
    "mixed-faiss-ip": lambda w, _: retriever_over(w, (faiss_store(w.mixed_nodes),)),
    "mixed-faiss-l2": lambda w, _: retriever_over(w, (faiss_store(w.mixed_nodes, "L2"),)),
    "mixed-own": own_index_mixed,
    "index-two-simple": multimodal_index,
    "index-faiss-and-simple": multimodal_index_over_faiss,
    "index-mixed-simple": lambda w, _: mixed_index(w, None),
    "index-mixed-faiss-ip": lambda w, _: mixed_index(w, "IP"),
    "index-mixed-faiss-l2": lambda w, _: mixed_index(w, "L2"),
}


@pytest.fixture(params=LAYOUTS)
def retriever(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> StandardizedMultiModalRetriever:
    return LAYOUTS[request.param](world, tmp_path)


@pytest.fixture
def world() -> World:
    return World()


def assert_ranked(nodes: list, expected: list[tuple[str, float]]) -> None:
    assert [i for i, _ in pairs(nodes)] == [i for i, _ in expected]
    assert [s for _, s in pairs(nodes)] == pytest.approx([s for _, s in expected], abs=1e-5)


async def test_ranks_as_brute_force(retriever: StandardizedMultiModalRetriever, world: World) -> None:
    retriever.calibrate(QUESTIONS, method="standardized")
    for question in (0, 7):
        expected = world.ranking(question, 10)
        assert {i[0] for i, _ in expected} == {"t", "i"}
        assert_ranked(retriever.retrieve(QUESTIONS[question]), expected)
        assert_ranked(await retriever.aretrieve(QUESTIONS[question]), expected)


async def test_batch_ranks_as_one_by_one(retriever: StandardizedMultiModalRetriever, world: World) -> None:
    retriever.calibrate(QUESTIONS, method="standardized")
    for answers in (retriever.retrieve_batch(QUESTIONS), await retriever.aretrieve_batch(QUESTIONS)):
        assert len(answers) == len(QUESTIONS)
        for question, nodes in enumerate(answers):
            assert_ranked(nodes, world.ranking(question, 10))
    assert retriever.retrieve_batch([]) == []


async def test_one_modality_has_the_scores_of_the_joint_ranking(
    retriever: StandardizedMultiModalRetriever, world: World
) -> None:
    retriever.calibrate(QUESTIONS, method="standardized")
    everything = world.ranking(4, TEXTS + IMAGES)
    texts = [pair for pair in everything if pair[0][0] == "t"][:10]
    images = [pair for pair in everything if pair[0][0] == "i"][:10]
    assert_ranked(retriever.text_retrieve(QUESTIONS[4]), texts)
    assert_ranked(retriever.text_to_image_retrieve(QUESTIONS[4]), images)
    assert_ranked(await retriever.atext_retrieve(QUESTIONS[4]), texts)
    assert_ranked(await retriever.atext_to_image_retrieve(QUESTIONS[4]), images)


def test_more_hits_than_documents(retriever: StandardizedMultiModalRetriever, world: World) -> None:
    retriever.calibrate(QUESTIONS, method="standardized")
    retriever.similarity_top_k = 500
    assert_ranked(retriever.retrieve(QUESTIONS[1]), world.ranking(1, 500))


def test_raw_and_quotas(retriever: StandardizedMultiModalRetriever, world: World) -> None:
    retriever.raw = True
    raw = retriever.retrieve(QUESTIONS[2])
    assert_ranked(raw, world.ranking(2, 10, raw=True))
    assert {node.node.node_id[0] for node in raw} == {"t"}  # the gap: raw cosine never shows an image
    retriever.minimum, retriever.maximum = {"image": 4}, {"text": 3}
    ids = [node.node.node_id[0] for node in retriever.retrieve(QUESTIONS[2])]
    assert (ids.count("t"), ids.count("i")) == (3, 7)


def test_nodes_come_back_as_they_were(retriever: StandardizedMultiModalRetriever, world: World) -> None:
    retriever.calibrate(QUESTIONS, method="standardized")
    originals = {node.node_id: node for node in [*world.text_nodes, *world.image_nodes]}
    for found in retriever.retrieve(QUESTIONS[0]):
        original = originals[found.node.node_id]
        assert type(found.node) is type(original)
        assert found.node.get_content() == original.get_content()
        assert getattr(found.node, "image_path", None) == getattr(original, "image_path", None)
        modality = "image" if isinstance(original, ImageNode) else "text"
        path = getattr(original, "image_path", None)
        source = {"source": path} if path is not None and "source" in found.node.metadata else {}
        assert found.node.metadata == original.metadata | source | {
            "commonscale_cosine": pytest.approx(world.cosines(0)[original.node_id], abs=1e-5),
            "commonscale_modality": modality,
            "commonscale_score": found.score,
            "commonscale_question": bundle_mark(QueryBundle(QUESTIONS[0])),
        }


def test_without_calibration(world: World) -> None:
    retriever = retriever_over(world, (simple_store(world.text_nodes), simple_store(world.image_nodes)))
    assert retriever.calibration is None
    with pytest.raises(NotCalibratedError, match=r"calibrate\(questions\)"):
        retriever.retrieve(QUESTIONS[0])


async def test_calibration_can_be_saved_and_swapped(world: World, tmp_path: Path) -> None:
    retriever = two_simple(world)
    assert retriever.calibration is not None
    retriever.calibration.save(tmp_path / "calibration.json")
    again = retriever_over(
        world,
        (faiss_store(world.text_nodes, "L2"), faiss_store(world.image_nodes)),
        calibration=Calibration.load(tmp_path / "calibration.json"),
    )
    assert_ranked(again.retrieve(QUESTIONS[5]), world.ranking(5, 10))
    calibration = await again.acalibrate(QUESTIONS, method="standardized")
    assert calibration is again.calibration
    again.calibration = None
    with pytest.raises(NotCalibratedError):
        again.retrieve(QUESTIONS[5])


def test_calibration_says_where_it_comes_from(world: World) -> None:
    store = simple_store([])
    retriever = retriever_over(world, (store, simple_store(world.image_nodes)))
    store.add(world.text_nodes)  # the dimension is not known when the retriever is made
    provenance = retriever.calibrate(QUESTIONS, method="standardized").modalities["text"].provenance
    assert (provenance.encoder_fingerprint, provenance.dimension) == ("FixedEmbedding:fixed", DIMENSION)
    assert provenance.score_kind == "cosine"


def test_each_question_is_embedded_once_per_model(world: World) -> None:
    retriever = two_simple(world)
    assert sorted(world.model.calls) == sorted(QUESTIONS)
    world.model.calls.clear()
    retriever.retrieve(QUESTIONS[0])
    assert world.model.calls == [QUESTIONS[0]]
    other = World().model
    both = retriever_over(
        world, (simple_store(world.text_nodes), simple_store(world.image_nodes)), image_embed_model=other, raw=True
    )
    world.model.calls.clear()
    both.retrieve(QUESTIONS[0])
    assert (world.model.calls, other.calls) == ([QUESTIONS[0]], [QUESTIONS[0]])


def test_progress_bar_while_calibrating(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    retriever = two_simple(world)
    retriever.calibrate(QUESTIONS, show_progress=True, method="standardized")
    assert "Embedding questions" in capsys.readouterr().err


def test_several_embedding_strings_are_averaged(world: World) -> None:
    retriever = two_simple(world)
    mean = (world.questions[0] + world.questions[1]) / 2
    bundle = QueryBundle("both", custom_embedding_strs=[QUESTIONS[0], QUESTIONS[1]])
    assert_ranked(retriever.retrieve(bundle), pairs(retriever.retrieve(QueryBundle("mean", embedding=mean.tolist()))))


def test_one_store_alone(world: World) -> None:
    images = {node.node_id: node for node in world.image_nodes}
    retriever = StandardizedMultiModalRetriever(
        image_store=simple_store(world.image_nodes), image_nodes=images, embed_model=world.model
    )
    retriever.calibrate(QUESTIONS, method="standardized")
    assert {node.node.node_id[0] for node in retriever.retrieve(QUESTIONS[0])} == {"i"}
    assert retriever.text_retrieve(QUESTIONS[0]) == []


@pytest.mark.parametrize("empty", ["text", "image"])
def test_empty_modality(world: World, empty: str) -> None:
    nodes = {"text": world.text_nodes, "image": world.image_nodes, empty: []}
    stores = (simple_store(nodes["text"]), simple_store(nodes["image"]))
    retriever = retriever_over(world, stores)
    with pytest.warns(UserWarning, match=f"modality '{empty}' returned no document"):
        retriever.calibrate(QUESTIONS, method="standardized")
    assert len(retriever.retrieve(QUESTIONS[0])) == 10
    late = {"text": world.text_nodes, "image": world.image_nodes}[empty]
    stores[empty == "image"].add(late)
    with pytest.raises(NotCalibratedError, match=f"modality '{empty}' has no statistics"):
        retriever.retrieve(QUESTIONS[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give text_store=, image_store=, both, or store="),
        ({"store": simple_store([]), "text_store": simple_store([])}, "not both"),
        ({"text_store": simple_store([])}, "SimpleVectorStore keeps only vectors"),
        ({"text_store": object()}, "object is no LlamaIndex vector store"),
        ({"text_store": simple_store([]), "text_nodes": [], "embed_model": "gpt-5 tokens"}, ""),
    ],
)
def test_unusable_arguments(world: World, settings: dict, message: str) -> None:
    if "embed_model" in settings:
        settings = {**settings, "embed_model": object()}
        message = "object is no encoder: it lacks encode_questions"
    with pytest.raises(InvalidInputError, match=message):
        StandardizedMultiModalRetriever(**{"embed_model": world.model, **settings})


@pytest.mark.parametrize(
    ("question", "message"),
    [("", "no text and no embedding"), ("  ", "no text and no embedding"), (3, "a string or a QueryBundle, got 3")],
)
def test_unusable_questions(world: World, question: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        two_simple(world).retrieve_batch([question])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": "cal.json"}, r"got 'cal.json'; .*commonscale.Calibration.load\(path\)"),
        ({"minimum": 2}, r"minimum must be a mapping .* minimum=\{'image': 2\}, got 2"),
        ({"maximum": [2]}, r"maximum must be a mapping .* got \[2\]"),
        ({"minimum": {"image": "2"}}, r"minimum\['image'\] must be an integer >= 0, got '2'"),
        ({"minimum": {"image": 3}, "similarity_top_k": 2}, "add up to 3, more than the 2 hits"),
        *(({"similarity_top_k": k}, f"similarity_top_k must be .* at least 1, got {k!r}") for k in (0, "3", True, 2.0)),
    ],
)
def test_wrong_values_are_refused_at_construction(world: World, settings: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        retriever_over(world, (simple_store(world.text_nodes), simple_store(world.image_nodes)), **settings)


def test_a_path_is_no_calibration(world: World) -> None:
    retriever = two_simple(world)
    before = retriever.calibration
    with pytest.raises(InvalidInputError, match=r"Calibration.load\(path\)"):
        retriever.calibration = "cal.json"
    assert retriever.calibration is before


def test_a_single_question_is_no_list(world: World) -> None:
    retriever = two_simple(world)
    for question in ("red bus", QueryBundle("red bus")):
        with pytest.raises(InvalidInputError, match="put it into a list"):
            retriever.calibrate(question, method="standardized")


def test_from_index_takes_only_vector_indexes() -> None:
    with pytest.raises(InvalidInputError, match="got a list"):
        StandardizedMultiModalRetriever.from_index([TextNode(text="a")])
