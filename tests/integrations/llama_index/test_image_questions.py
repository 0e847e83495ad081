"""Questions that are pictures: every form of picture, every method of LlamaIndex's interface, several real stores."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("PIL")

from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.embeddings import MockEmbedding, MultiModalEmbedding
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, QueryBundle, TextNode
from llama_index.core.vector_stores import SimpleVectorStore

from commonscale import Calibration
from commonscale.core.errors import ImageError, InvalidInputError, NotCalibratedError
from commonscale.llama_index import CommonscaleEmbedding, SimilarityStandardizer, StandardizedMultiModalRetriever
from picture_world import PictureWorld, encoder, text_encoder


class OpeningEmbedding(MultiModalEmbedding):
    """A foreign model: embeds one picture at a time, from whatever PIL opens; keeps what it was given."""

    model_name: str = "opening"
    given: list[Any] = Field(default_factory=list, exclude=True)

    @classmethod
    def class_name(cls) -> str:
        return "OpeningEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return encoder().encode_questions([query])[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return encoder().encode_texts([text])[0].tolist()

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        from PIL import Image

        self.given.append(img_file_path)
        with Image.open(img_file_path) as image:
            return [3.0 * value for value in encoder().encode_images([image])[0].tolist()]

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embedding(img_file_path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PictureWorld:
    return PictureWorld(tmp_path_factory.mktemp("pictures"))


def text_nodes(world: PictureWorld) -> list[Any]:
    return [
        TextNode(id_=i, text=text, metadata={"modality": "text"}, embedding=row.tolist())
        for i, text, row in zip(world.ids["text"], world.texts, world.vectors["text"], strict=True)
    ]


def image_nodes(world: PictureWorld) -> list[Any]:
    return [
        ImageNode(id_=i, image_path=path, metadata={"modality": "image"}, embedding=row.tolist())
        for i, path, row in zip(world.ids["image"], world.pictures, world.vectors["image"], strict=True)
    ]


def two_simple(world: PictureWorld, _: Path) -> dict[str, Any]:
    stores: dict[str, Any] = {}
    for modality, nodes in (("text", text_nodes(world)), ("image", image_nodes(world))):
        store = SimpleVectorStore()
        store.add(nodes)
        stores |= {f"{modality}_store": store, f"{modality}_nodes": {n.node_id: n for n in nodes}}
    return stores


def two_faiss(world: PictureWorld, _: Path) -> dict[str, Any]:
    faiss: Any = pytest.importorskip("faiss")
    module = pytest.importorskip("llama_index.vector_stores.faiss")
    stores: dict[str, Any] = {}
    for modality, nodes in (("text", text_nodes(world)), ("image", image_nodes(world))):
        store = module.FaissVectorStore(faiss_index=faiss.IndexFlatIP(world.encoder.dimension))
        store.add(nodes)
        stores |= {f"{modality}_store": store, f"{modality}_nodes": nodes}
    return stores


def mixed_chroma(world: PictureWorld, folder: Path) -> dict[str, Any]:
    chromadb: Any = pytest.importorskip("chromadb")
    module = pytest.importorskip("llama_index.vector_stores.chroma")
    client = chromadb.PersistentClient(str(folder / "chroma"))
    collection = client.create_collection("mixed", metadata={"hnsw:space": "cosine"})
    store = module.ChromaVectorStore(chroma_collection=collection)
    store.add([*text_nodes(world), *image_nodes(world)])
    return {"store": store}


def mixed_index(world: PictureWorld, folder: Path) -> dict[str, Any]:
    from commonscale.index import Document, FaissIndex

    index = FaissIndex.create(folder / "index", world.encoder.dimension, encoder_fingerprint=world.encoder.fingerprint)
    for modality, rows in world.vectors.items():
        contents = world.texts if modality == "text" else world.pictures
        index.add(
            [
                Document(i, modality, text=c) if modality == "text" else Document(i, modality, path=c)
                for i, c in zip(world.ids[modality], contents, strict=True)
            ],
            rows,
        )
    return {"store": index}


STORES: list[Callable[[PictureWorld, Path], dict[str, Any]]] = [two_simple, two_faiss, mixed_chroma, mixed_index]


def over(world: PictureWorld, stores: dict[str, Any], **settings: Any) -> StandardizedMultiModalRetriever:
    return StandardizedMultiModalRetriever(
        **{"embed_model": CommonscaleEmbedding(world.encoder), **stores, "similarity_top_k": 8, **settings}
    )


@pytest.fixture
def retriever(world: PictureWorld, tmp_path: Path) -> StandardizedMultiModalRetriever:
    made = over(world, two_simple(world, tmp_path))
    made.calibrate_images(world.asked, method="standardized")
    return made


def assert_ranked(found: list[Any], expected: list[tuple[str, float]]) -> None:
    assert [hit.node.node_id for hit in found] == [i for i, _ in expected]
    np.testing.assert_allclose([hit.score for hit in found], [score for _, score in expected], atol=2e-5)


@pytest.mark.parametrize("stores", STORES, ids=lambda make: make.__name__)
async def test_pictures_find_texts_and_pictures_on_their_own_scale(
    world: PictureWorld, stores: Callable[[PictureWorld, Path], dict[str, Any]], tmp_path: Path
) -> None:
    retriever = over(world, stores(world, tmp_path))
    bundle = QueryBundle("", image_path=world.stranger)
    with pytest.raises(NotCalibratedError):
        retriever.retrieve(bundle)
    calibration = retriever.calibrate_images(world.asked, method="standardized")
    assert calibration.image_questions is not None
    assert calibration.image_questions.questions == len(world.asked)
    for path in (world.stranger, world.pictures[0]):
        bundle = QueryBundle("", image_path=path)
        joint = world.ranking(path, 8)
        assert {i[0] for i, _ in joint} == {"t", "i"}
        assert {i[0] for i, _ in world.ranking(path, 8, raw=True)} == {"i"}
        assert_ranked(retriever.retrieve(bundle), joint)
        assert_ranked(await retriever.aretrieve(bundle), joint)
        assert_ranked(retriever.retrieve_image(path), joint)
        assert_ranked(await retriever.aretrieve_image(path), joint)
        assert_ranked(retriever.retrieve_batch([bundle])[0], joint)
        assert_ranked((await retriever.aretrieve_batch([bundle]))[0], joint)
        pictures = world.ranking(path, 8, only="image")
        assert_ranked(retriever.image_to_image_retrieve(path), pictures)
        assert_ranked(retriever.image_to_image_retrieve(bundle), pictures)
        assert_ranked(await retriever.aimage_to_image_retrieve(path), pictures)
        assert_ranked(retriever._image_to_image_retrieve(bundle), pictures)
        assert_ranked(await retriever._aimage_to_image_retrieve(bundle), pictures)
        texts = world.ranking(path, 8, only="text")
        assert_ranked(retriever.image_to_text_retrieve(path), texts)
        assert_ranked(await retriever.aimage_to_text_retrieve(bundle), texts)
    # The picture itself is stored: it comes first.
    assert retriever.image_to_image_retrieve(world.pictures[0])[0].node.node_id == "i0"


async def test_every_form_of_a_picture_is_the_same_question(
    world: PictureWorld, retriever: StandardizedMultiModalRetriever
) -> None:
    expected = world.ranking(world.stranger, 8)
    for picture in world.forms(world.stranger):
        assert_ranked(retriever.retrieve_image(picture), expected)
        bundle = QueryBundle("", image_path=picture)
        assert_ranked(retriever.retrieve(bundle), expected)
        assert bundle.image_path is picture
        assert bundle.embedding is None
        assert_ranked(await retriever.aretrieve(bundle), expected)
        assert_ranked(retriever.image_to_image_retrieve(picture), world.ranking(world.stranger, 8, only="image"))
    content = base64.b64encode(Path(world.stranger).read_bytes()).decode()
    assert_ranked(retriever.retrieve_image(f"data:image/png;base64,{content}"), expected)


def test_a_path_in_words_stays_a_question_in_words(world: PictureWorld, tmp_path: Path) -> None:
    retriever = over(world, two_simple(world, tmp_path), raw=True)
    asked = retriever.retrieve(world.stranger)
    vector = world.encoder.encode_questions([world.stranger])[0]
    best = max(float(row @ vector) for row in world.vectors["text"])
    assert asked[0].score == pytest.approx(best, abs=1e-6)
    assert [n.score for n in asked] != [n.score for n in retriever.retrieve_image(world.stranger)]


def test_another_frameworks_model_is_given_paths_and_files(world: PictureWorld, tmp_path: Path) -> None:
    model = OpeningEmbedding()
    retriever = over(world, two_simple(world, tmp_path), embed_model=model)
    retriever.calibrate_images(world.asked, method="standardized")
    assert model.given == world.asked
    for picture in world.forms(world.stranger):
        model.given.clear()
        assert_ranked(retriever.retrieve_image(picture), world.ranking(world.stranger, 8))
        kind = str if isinstance(picture, (str, Path)) else BytesIO
        assert [type(given) for given in model.given] == [kind]


async def test_another_frameworks_model_asynchronously(world: PictureWorld, tmp_path: Path) -> None:
    retriever = over(world, two_simple(world, tmp_path), embed_model=OpeningEmbedding())
    await retriever.acalibrate_images(world.asked, method="standardized")
    for picture in world.forms(world.stranger):
        assert_ranked(await retriever.aretrieve_image(picture), world.ranking(world.stranger, 8))


def test_an_embedding_in_the_bundle_is_the_pictures(
    world: PictureWorld, retriever: StandardizedMultiModalRetriever
) -> None:
    vector = world.encoder.encode_images([world.stranger])[0].tolist()
    bundle = QueryBundle("", image_path="nowhere.png", embedding=vector)
    assert_ranked(retriever.retrieve(bundle), world.ranking(world.stranger, 8))


def test_words_and_pictures_have_scales_of_their_own(world: PictureWorld, tmp_path: Path) -> None:
    retriever = over(world, two_simple(world, tmp_path))
    retriever.calibrate(world.questions, images=world.asked, method="standardized")
    mixed = [world.questions[0], QueryBundle("", image_path=world.stranger), world.questions[1]]
    found = retriever.retrieve_batch(mixed)
    assert_ranked(found[1], world.ranking(world.stranger, 8))
    alone = over(world, two_simple(world, tmp_path))
    words = alone.calibrate(world.questions, method="standardized")
    assert_ranked(found[0], [(n.node.node_id, n.get_score()) for n in alone.retrieve(world.questions[0])])
    with pytest.raises(NotCalibratedError, match="calibrate_images"):
        alone.retrieve_image(world.stranger)
    both = alone.calibrate_images(world.asked, method="standardized")
    assert both.modalities == words.modalities
    again = alone.calibrate(world.questions, method="standardized")
    assert again.image_questions is both.image_questions


async def test_a_saved_calibration_ranks_pictures_alike(world: PictureWorld, tmp_path: Path) -> None:
    for method in ("standardized", "chance", "centered+standardized"):
        first = over(world, two_simple(world, tmp_path))
        await first.acalibrate(world.questions, images=world.asked, method=method)
        assert first.calibration is not None
        first.calibration.save(tmp_path / "calibration.json")
        other = over(world, two_simple(world, tmp_path), calibration=Calibration.load(tmp_path / "calibration.json"))
        for path in (world.stranger, world.pictures[3]):
            expected = [(n.node.node_id, n.score) for n in first.retrieve_image(path)]
            assert_ranked(other.retrieve_image(path), expected)


def test_raw_needs_no_calibration(world: PictureWorld, tmp_path: Path) -> None:
    retriever = over(world, two_simple(world, tmp_path), raw=True)
    assert_ranked(retriever.retrieve_image(world.stranger), world.ranking(world.stranger, 8, raw=True))


async def test_a_model_that_reads_no_pictures_is_named(world: PictureWorld, tmp_path: Path) -> None:
    words = MockEmbedding(embed_dim=world.encoder.dimension)
    both = over(world, two_simple(world, tmp_path), embed_model=words, raw=True)
    with pytest.raises(InvalidInputError, match=r"MockEmbedding of modality 'text' reads none.*multimodal embedding"):
        both.retrieve_image(world.stranger)
    with pytest.raises(InvalidInputError, match="reads none"):
        await both.aretrieve_image(world.stranger)
    with pytest.raises(InvalidInputError, match="reads none"):
        both.calibrate_images(world.asked)
    # One modality's model is enough for that modality.
    split = over(
        world,
        two_simple(world, tmp_path),
        embed_model=words,
        image_embed_model=CommonscaleEmbedding(world.encoder),
        raw=True,
    )
    assert len(split.image_to_image_retrieve(world.stranger)) == 8
    assert len(await split.aimage_to_image_retrieve(world.stranger)) == 8
    with pytest.raises(InvalidInputError, match="of modality 'text'"):
        split.image_to_text_retrieve(world.stranger)
    with pytest.raises(InvalidInputError, match="embed_image"):
        over(world, two_simple(world, tmp_path), embed_model=text_encoder(), raw=True).retrieve_image(world.stranger)


async def test_what_is_no_picture_is_refused(world: PictureWorld, retriever: StandardizedMultiModalRetriever) -> None:
    with pytest.raises(InvalidInputError, match=r"has no image.*image_path"):
        retriever.image_to_image_retrieve(QueryBundle("words"))
    with pytest.raises(InvalidInputError, match="has no image"):
        await retriever.aretrieve_image(QueryBundle("words"))
    with pytest.raises(ImageError, match="no such file"):
        retriever.retrieve_image("nowhere.png")
    with pytest.raises(ImageError):
        retriever.retrieve_image(b"no picture at all")
    with pytest.raises(ImageError, match="not a picture"):
        retriever.retrieve_image(3)  # type: ignore[arg-type]
    for single in (world.stranger, Path(world.stranger), b"x", QueryBundle("", image_path="a.png")):
        with pytest.raises(InvalidInputError, match="list"):
            retriever.calibrate_images(single)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="unlabeled questions, got none"):
        retriever.calibrate_images([])


def test_a_picture_that_is_stored_can_be_kept_in_what_is_learned(world: PictureWorld, tmp_path: Path) -> None:
    retriever = over(world, two_simple(world, tmp_path))
    left_out = retriever.calibrate_images(world.asked, method="standardized").image_questions
    kept = retriever.calibrate_images(world.asked, method="standardized", identical=None).image_questions
    assert left_out is not None
    assert kept is not None
    assert kept.statistics("image").mean > left_out.statistics("image").mean
    assert kept.statistics("text") == left_out.statistics("text")


def test_callbacks_go_on(world: PictureWorld, tmp_path: Path) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    retriever = over(world, two_simple(world, tmp_path), raw=True, callback_manager=CallbackManager([debug]))
    for picture in world.forms(world.stranger):
        found = retriever.retrieve_image(picture)
        assert debug.get_event_pairs(CBEventType.RETRIEVE)[-1][-1].payload["nodes"] == found


def test_a_standardizer_after_it_uses_the_scale_of_pictures(
    world: PictureWorld, retriever: StandardizedMultiModalRetriever
) -> None:
    assert retriever.calibration is not None
    step = SimilarityStandardizer(calibration=retriever.calibration)
    for picture in world.forms(world.stranger):
        bundle = QueryBundle("", image_path=picture)
        expected = world.ranking(world.stranger, 8)
        assert_ranked(step.postprocess_nodes(retriever.retrieve(bundle), query_bundle=bundle), expected)
        assert_ranked(step.postprocess_nodes(retriever.retrieve(bundle)), expected)
    found, other = retriever.retrieve(bundle), QueryBundle("", image_path=world.pictures[0])
    with pytest.raises(InvalidInputError, match="not made for the question"):
        step.postprocess_nodes(found, query_bundle=other)


def test_a_standardizer_recomputes_cosines_with_the_picture(
    world: PictureWorld, retriever: StandardizedMultiModalRetriever
) -> None:
    from llama_index.core.schema import NodeWithScore

    assert retriever.calibration is not None
    step = SimilarityStandardizer(calibration=retriever.calibration, embed_model=CommonscaleEmbedding(world.encoder))
    nodes = [NodeWithScore(node=node, score=0.1) for node in [*text_nodes(world), *image_nodes(world)]]
    found = step.postprocess_nodes(nodes, query_bundle=QueryBundle("", image_path=world.stranger))
    assert_ranked(found[:8], world.ranking(world.stranger, 8))


async def test_over_an_index_and_its_query_engine(world: PictureWorld) -> None:
    from llama_index.core.indices.multi_modal.retriever import MultiModalVectorIndexRetriever

    model = CommonscaleEmbedding(world.encoder)
    index = MultiModalVectorStoreIndex(
        [*text_nodes(world), *image_nodes(world)], embed_model=model, image_embed_model=model
    )
    retriever = StandardizedMultiModalRetriever.from_index(index, similarity_top_k=8)
    retriever.calibrate_images(world.asked, method="standardized")
    assert_ranked(retriever.retrieve_image(world.stranger), world.ranking(world.stranger, 8))
    # LlamaIndex's own retriever finds the same pictures, without texts and without a scale.
    theirs = MultiModalVectorIndexRetriever(index, image_similarity_top_k=8).image_to_image_retrieve(world.stranger)
    ours = retriever.image_to_image_retrieve(world.stranger)
    assert [n.node.node_id for n in ours] == [n.node.node_id for n in theirs]
