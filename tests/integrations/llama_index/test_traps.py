"""One regression test for each trap that LlamaIndex sets for multimodal retrieval.

Each shows first, where it can, that LlamaIndex itself still falls into it.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery, VectorStoreQueryResult

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index import SimilarityStandardizer, StandardizedMultiModalRetriever
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY, modality_of
from llama_world import (
    DIMENSION,
    QUESTIONS,
    FixedEmbedding,
    World,
    faiss_store,
    pairs,
    retriever_over,
    simple_store,
    two_simple,
)


@pytest.fixture
def world() -> World:
    return World()


def stores(world: World) -> tuple[SimpleVectorStore, SimpleVectorStore]:
    return simple_store(world.text_nodes), simple_store(world.image_nodes)


def raw_retriever(nodes: list[Any], model: FixedEmbedding, **settings: Any) -> StandardizedMultiModalRetriever:
    """Over one mixed store, without a scale."""
    by_id = {node.node_id: node for node in nodes}
    return StandardizedMultiModalRetriever(
        store=simple_store(nodes), nodes=by_id, embed_model=model, raw=True, **settings
    )


async def test_the_query_bundle_is_never_written_to(world: World) -> None:
    other = World(seed=1).model
    retriever = retriever_over(world, stores(world), image_embed_model=other)
    bundle = QueryBundle(QUESTIONS[0])
    before = copy.deepcopy(bundle)
    retriever.calibrate([bundle, *QUESTIONS], method="standardized")
    first = pairs(retriever.retrieve(bundle))
    assert bundle == before
    assert pairs(retriever.retrieve(bundle)) == first
    assert pairs(await retriever.aretrieve(bundle)) == first
    retriever.text_retrieve(bundle)
    await retriever.atext_to_image_retrieve(bundle)
    retriever.retrieve_batch([bundle])
    assert bundle == before


def test_an_embedding_in_the_bundle_is_that_of_the_text_model(world: World) -> None:
    other = World(seed=1)
    retriever = retriever_over(world, stores(world), image_embed_model=other.model, raw=True)
    given = QueryBundle(QUESTIONS[0], embedding=(3 * world.questions[1]).tolist())
    cosines = {n.node.node_id: n.node.metadata["commonscale_cosine"] for n in retriever.text_retrieve(given)}
    assert cosines == pytest.approx({i: world.cosines(1)[i] for i in cosines}, abs=1e-5)
    images = [n.node.metadata["commonscale_cosine"] for n in retriever.text_to_image_retrieve(given)]
    expected = sorted(world.image_vectors @ other.questions[0], reverse=True)[:10]
    assert images == pytest.approx(expected, abs=1e-5)


def test_a_mixed_store_gives_texts_too(world: World) -> None:
    """``as_retriever`` passes the node ids of image nodes to stores that keep text, which then hide every text."""

    class TextKeepingStore(SimpleVectorStore):
        """A store that keeps text and honors node ids, as Qdrant and Milvus do."""

        stores_text: bool = True

        def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
            result = super().query(query, **kwargs)
            result.nodes = [by_id[i] for i in result.ids or []]
            return result

    by_id = {node.node_id: node for node in world.mixed_nodes}
    context = StorageContext.from_defaults(vector_store=TextKeepingStore())
    index = VectorStoreIndex(world.mixed_nodes, storage_context=context, embed_model=world.model)
    theirs = index.as_retriever(similarity_top_k=20).retrieve(QUESTIONS[0])
    assert {n.node.node_id[0] for n in theirs} == {"i"}
    ours = StandardizedMultiModalRetriever.from_index(index, nodes=by_id)
    ours.calibrate(QUESTIONS, method="standardized")
    assert [i for i, _ in pairs(ours.retrieve(QUESTIONS[0]))] == [i for i, _ in world.ranking(0, 10)]


def captioned_world() -> tuple[list[Any], FixedEmbedding]:
    """A captioned image whose caption is far from the question and whose picture is near."""
    axis = np.eye(DIMENSION).tolist()
    near = (0.9 * np.eye(DIMENSION)[0] + 0.1 * np.eye(DIMENSION)[1]).tolist()
    vectors = {"question": axis[0], "a caption": axis[2], "picture.png": near, "some text": axis[1]}
    nodes = [
        ImageNode(id_="captioned", text="a caption", image_path="picture.png"),
        TextNode(id_="t", text="some text"),
    ]
    return nodes, FixedEmbedding(vectors=vectors)


async def test_a_document_in_both_stores_comes_once_and_at_its_best() -> None:
    nodes, model = captioned_world()
    index = MultiModalVectorStoreIndex(nodes, embed_model=model, image_embed_model=model)
    theirs = index.as_retriever(similarity_top_k=5, image_similarity_top_k=5).retrieve("question")
    assert {n.node.node_id: n.score for n in theirs}["captioned"] == pytest.approx(0.0)  # the first, not the best
    ours = StandardizedMultiModalRetriever.from_index(index, raw=True)
    for nodes_found in (
        ours.retrieve("question"),
        await ours.aretrieve("question"),
        *ours.retrieve_batch(["question"]),
    ):
        assert [i for i, _ in pairs(nodes_found)] == ["captioned", "t"]
        assert nodes_found[0].score == pytest.approx(0.9 / np.hypot(0.9, 0.1), abs=1e-6)
        assert nodes_found[0].node.metadata["commonscale_modality"] == "image"


def test_faiss_rows_of_two_stores_are_not_confused() -> None:
    """Rows count from 0 in each store: row 0 of the images must not be taken for row 0 of the texts."""
    nodes, model = captioned_world()
    image, text = nodes
    axis = np.eye(DIMENSION).tolist()
    texts = [text.model_copy(update={"embedding": axis[1]}), image.model_copy(update={"embedding": axis[2]})]
    pictures = [image.model_copy(update={"embedding": model.vectors["picture.png"]})]
    retriever = StandardizedMultiModalRetriever(
        text_store=faiss_store(texts),
        image_store=faiss_store(pictures),
        text_nodes=texts,
        image_nodes=pictures,
        embed_model=model,
        raw=True,
    )
    assert [i for i, _ in pairs(retriever.retrieve("question"))] == ["captioned", "t"]
    index = MultiModalVectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(vector_store=faiss_store([]), image_store=faiss_store([])),
        embed_model=model,
        image_embed_model=model,
    )
    with pytest.raises(InvalidInputError, match="two FaissVectorStores, whose row numbers it keeps in one table"):
        StandardizedMultiModalRetriever.from_index(index)
    again = StandardizedMultiModalRetriever.from_index(index, text_nodes=nodes[::-1], image_nodes=nodes[:1], raw=True)
    assert again.retrieve("question")[0].node.node_id == "captioned"


def test_a_later_insertion_of_images_does_not_hide_the_texts() -> None:
    """An insertion without texts marks the text store as empty, and the index's own retriever then skips it."""
    nodes, model = captioned_world()
    image = ImageNode(id_="i", image_path="picture.png", metadata={"kind": "photo"})
    index = MultiModalVectorStoreIndex([nodes[1]], embed_model=model, image_embed_model=model)
    index.insert_nodes([image])
    assert index.is_text_vector_store_empty
    ours = StandardizedMultiModalRetriever.from_index(index, raw=True)
    assert {n.node.node_id for n in ours.retrieve("question")} == {"t", "i"}


def test_images_without_text_are_found(world: World) -> None:
    bare = ImageNode(id_="bare", image_path="x.png", embedding=world.questions[0].tolist())
    retriever = raw_retriever([bare, *world.text_nodes], world.model)
    found = retriever.text_to_image_retrieve(QUESTIONS[0])
    assert [(n.node.node_id, n.score) for n in found] == [("bare", pytest.approx(1.0))]
    assert isinstance(found[0].node, ImageNode)
    assert found[0].node.image_path == "x.png"


def test_two_image_nodes_of_one_file_stay_two(world: World) -> None:
    """They have the same hash, which is what QueryFusionRetriever takes for their identity."""
    twins = [
        ImageNode(id_=name, image_path="same.png", embedding=world.questions[i].tolist())
        for i, name in enumerate(("one", "two"))
    ]
    assert twins[0].hash == twins[1].hash
    found = raw_retriever(twins, world.model).retrieve(QUESTIONS[0])
    assert [n.node.node_id for n in found] == ["one", "two"]
    again = SimilarityStandardizer(calibration=two_simple(world).calibration, score_kind="cosine")
    assert len(again.postprocess_nodes([NodeWithScore(node=n, score=0.5) for n in twins])) == 2


@pytest.mark.parametrize(
    ("node", "modality"),
    [
        (TextNode(text="a"), "text"),
        (ImageNode(text="a caption", image_path="a.png"), "image"),
        (ImageNode(image="aGVsbG8="), "image"),
        (Node(text_resource=MediaResource(text="a")), "text"),
        (Node(image_resource=MediaResource(data=b"png")), "image"),
        (ImageDocument(image=b"aGVsbG8="), "image"),
        (TextNode(text="lost its picture", metadata={"modality": "image"}), "image"),
        (TextNode(text="a", metadata={"modality": "audio"}), "audio"),
        (TextNode(text="a", metadata={"kind": "image"}), "text"),
        (IndexNode(index_id="x", text="a"), "text"),
    ],
)
def test_what_is_an_image(node: Any, modality: str) -> None:
    assert modality_of(node, DEFAULT_MODALITY_KEY) == modality


def test_a_mixed_store_is_split_by_what_its_nodes_are(world: World) -> None:
    vectors = world.questions[:5].tolist()
    nodes = [
        TextNode(id_="text", text="a", embedding=vectors[0]),
        TextNode(id_="named", text="a", metadata={"kind": "image"}, embedding=vectors[1]),
        ImageNode(id_="image", image_path="a.png", embedding=vectors[2]),
        Node(id_="media", image_resource=MediaResource(data=b"png"), embedding=vectors[3]),
        Node(id_="words", text_resource=MediaResource(text="a"), embedding=vectors[4]),
    ]
    for store, held in ((simple_store(nodes), {n.node_id: n for n in nodes}), (faiss_store(nodes), nodes)):
        retriever = StandardizedMultiModalRetriever(
            store=store, nodes=held, embed_model=world.model, raw=True, modality_key="kind"
        )
        assert {i for i, _ in pairs(retriever.text_retrieve(QUESTIONS[0]))} == {"text", "words"}
        assert {i for i, _ in pairs(retriever.text_to_image_retrieve(QUESTIONS[0]))} == {"named", "image", "media"}


def test_scores_and_cosines_stay_out_of_prompts_and_embeddings(world: World) -> None:
    retriever = two_simple(world)
    for found in retriever.retrieve(QUESTIONS[0]):
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "commonscale" not in found.node.get_metadata_str(mode)
            assert "parity" in found.node.get_metadata_str(mode)
        if not isinstance(found.node, ImageNode):
            assert "commonscale" not in str(found.node.get_content_blocks(MetadataMode.LLM))
    again = SimilarityStandardizer(calibration=retriever.calibration).postprocess_nodes([found])
    assert again[0].node.excluded_llm_metadata_keys == found.node.excluded_llm_metadata_keys


def test_nothing_a_caller_passed_in_is_changed(world: World) -> None:
    before = [copy.deepcopy(node) for node in [*world.text_nodes, *world.image_nodes]]
    retriever = two_simple(world)
    for found in retriever.retrieve(QUESTIONS[0]):
        found.node.metadata["mine"] = 1
        found.node.excluded_llm_metadata_keys.append("mine")
    assert [*world.text_nodes, *world.image_nodes] == before


def test_negative_scores_and_the_similarity_cutoff(world: World) -> None:
    retriever = two_simple(world)
    found = retriever.retrieve(QUESTIONS[0])
    assert any(n.score < 0 for n in found)
    assert len(SimilarityPostprocessor().postprocess_nodes(found)) < len(found)  # the default cutoff of 0.0
    chances = SimilarityStandardizer(calibration=retriever.calibration, probability=True).postprocess_nodes(found)
    assert [n.node.node_id for n in chances] == [n.node.node_id for n in found]
    assert all(0 <= n.score <= 1 for n in chances)
    assert len(SimilarityPostprocessor().postprocess_nodes(chances)) == len(found)
    kept = SimilarityPostprocessor(similarity_cutoff=0.5).postprocess_nodes(chances)
    assert [n.node.node_id for n in kept] == [n.node.node_id for n in found if n.score >= 0]


def test_an_index_node_with_a_score_of_zero_stays_in_its_place(world: World) -> None:
    """LlamaIndex reads a score of 0.0 as missing and gives what an IndexNode points to a score of 1.0."""
    target = TextNode(id_="target", text="what it points to")
    axis = np.eye(DIMENSION).tolist()
    nodes = [
        IndexNode(id_="pointer", index_id="x", text="a", obj=target, embedding=axis[1]),
        TextNode(id_="near", text="b", embedding=axis[0]),
    ]
    retriever = raw_retriever(nodes, FixedEmbedding(vectors={"question": axis[0]}))
    for found in (retriever.retrieve("question"), retriever.retrieve_batch(["question"])[0]):
        assert [n.node.node_id for n in found] == ["near", "target"]
        assert found[1].score == pytest.approx(0.0, abs=1e-300)


def test_a_reloaded_index_ranks_the_same(world: World, tmp_path: Any) -> None:
    from llama_index.core import load_index_from_storage

    index = MultiModalVectorStoreIndex(
        [*world.text_nodes, *world.image_nodes], embed_model=world.model, image_embed_model=world.model
    )
    calibration = StandardizedMultiModalRetriever.from_index(index).calibrate(QUESTIONS, method="standardized")
    index.storage_context.persist(tmp_path)
    loaded = load_index_from_storage(
        StorageContext.from_defaults(persist_dir=str(tmp_path)),
        embed_model=world.model,
        image_embed_model=world.model,
    )
    again = StandardizedMultiModalRetriever.from_index(loaded, calibration=calibration)
    assert [i for i, _ in pairs(again.retrieve(QUESTIONS[2]))] == [i for i, _ in world.ranking(2, 10)]


def test_a_node_missing_from_the_docstore_is_named(world: World) -> None:
    docstore = SimpleDocumentStore()
    docstore.add_documents(world.text_nodes[1:])
    retriever = StandardizedMultiModalRetriever(
        text_store=simple_store(world.text_nodes), docstore=docstore, embed_model=world.model, raw=True
    )
    retriever.similarity_top_k = 100
    with pytest.raises(RuntimeError, match=r"missing from the docstore.*t0"):
        retriever.retrieve(QUESTIONS[0])
