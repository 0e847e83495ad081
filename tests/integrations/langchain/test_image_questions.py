"""Questions that are pictures: every form of picture, every way to invoke, several real stores."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("PIL")

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from commonscale import Calibration
from commonscale.core.errors import ImageError, InvalidInputError, NotCalibratedError
from commonscale.langchain import (
    CommonscaleEmbeddings,
    ImageQuestion,
    SimilarityStandardizer,
    StandardizedMultiModalRetriever,
)
from langchain_world import build_store
from picture_world import PictureWorld, encoder, text_encoder

STORES = ["in-memory", "faiss-l2", "faiss-ip", "chroma", "index"]


class OpeningEmbeddings(Embeddings):
    """Foreign embeddings: embed pictures from paths alone, as LangChain's OpenCLIP integration does."""

    model_name = "opening"

    def __init__(self) -> None:
        self.given: list[Any] = []

    def embed_query(self, text: str) -> list[float]:
        return encoder().encode_questions([text])[0].tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return encoder().encode_texts(texts).tolist()

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        assert all(isinstance(uri, str) and Path(uri).is_file() for uri in uris)
        self.given += uris
        return (3.0 * encoder().encode_images(uris)).tolist()


class WordEmbeddings(Embeddings):
    """Embeddings without pictures."""

    def embed_query(self, text: str) -> list[float]:
        return encoder().encode_questions([text])[0].tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return encoder().encode_texts(texts).tolist()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureWorld:
    return PictureWorld(tmp_path_factory.mktemp("pictures"))


def documents(world: PictureWorld, modality: str) -> list[Document]:
    contents = world.texts if modality == "text" else world.pictures
    return [
        Document(id=i, page_content=content, metadata={"modality": modality})
        for i, content in zip(world.ids[modality], contents, strict=True)
    ]


def store(world: PictureWorld, kind: str, modalities: list[str], folder: Path) -> Any:
    stored = [document for modality in modalities for document in documents(world, modality)]
    vectors = np.concatenate([world.vectors[modality] for modality in modalities])
    embeddings = CommonscaleEmbeddings(world.encoder)
    place = folder / "-".join([kind, *modalities])
    if kind != "chroma":
        if kind.startswith("faiss"):
            pytest.importorskip("langchain_community")
        return build_store(kind, stored, vectors, embeddings, place)
    chroma: Any = pytest.importorskip("langchain_chroma")
    made = chroma.Chroma(
        "pictures", embeddings, persist_directory=str(place), collection_metadata={"hnsw:space": "cosine"}
    )
    made._collection.add(
        ids=[d.id for d in stored],
        embeddings=vectors.tolist(),
        documents=[d.page_content for d in stored],
        metadatas=[d.metadata for d in stored],
    )
    return made


def over(world: PictureWorld, kind: str, layout: str, folder: Path, **fields: Any) -> StandardizedMultiModalRetriever:
    if layout == "mixed":
        stores = {"store": store(world, kind, ["text", "image"], folder)}
    else:
        stores = {f"{m}_store": store(world, kind, [m], folder) for m in ("text", "image")}
    embeddings = fields.pop("embeddings", CommonscaleEmbeddings(world.encoder))
    return StandardizedMultiModalRetriever(**stores, embeddings=embeddings, k=8, **fields)


@pytest.fixture
def asking(pictures: PictureWorld, tmp_path: Path) -> StandardizedMultiModalRetriever:
    made = over(pictures, "in-memory", "two", tmp_path)
    made.calibrate_images(pictures.asked, method="standardized")
    return made


def assert_ranked(found: list[Document], expected: list[tuple[str, float]]) -> None:
    assert [document.id for document in found] == [i for i, _ in expected]
    scores = [document.metadata["commonscale_score"] for document in found]
    np.testing.assert_allclose(scores, [score for _, score in expected], atol=2e-5)


@pytest.mark.parametrize("layout", ["two", "mixed"])
@pytest.mark.parametrize("kind", STORES)
async def test_pictures_find_texts_and_pictures_on_their_own_scale(
    pictures: PictureWorld, kind: str, layout: str, tmp_path: Path
) -> None:
    retriever = over(pictures, kind, layout, tmp_path)
    with pytest.raises(NotCalibratedError):
        retriever.invoke(ImageQuestion(pictures.stranger))
    calibration = retriever.calibrate_images(pictures.asked, method="standardized")
    assert calibration.image_questions is not None
    assert calibration.image_questions.questions == len(pictures.asked)
    for path in (pictures.stranger, pictures.pictures[0]):
        question, expected = ImageQuestion(path), pictures.ranking(path, 8)
        assert {i[0] for i, _ in expected} == {"t", "i"}
        assert_ranked(retriever.invoke(question), expected)
        assert_ranked(await retriever.ainvoke(question), expected)
        assert_ranked(retriever.retrieve_image(path), expected)
        assert_ranked(await retriever.aretrieve_image(path), expected)
        assert_ranked(retriever.batch([question])[0], expected)
        assert_ranked((await retriever.abatch([question]))[0], expected)
        assert_ranked(retriever.retrieve_batch([question])[0], expected)
        assert_ranked((await retriever.aretrieve_batch([question]))[0], expected)
        assert_ranked(retriever.retrieve_image(path, k=3, raw=True), pictures.ranking(path, 3, raw=True))
        assert_ranked(await retriever.aretrieve_image(path, k=3), expected[:3])


async def test_every_form_of_a_picture_is_the_same_question(
    pictures: PictureWorld, asking: StandardizedMultiModalRetriever
) -> None:
    expected = pictures.ranking(pictures.stranger, 8)
    for picture in pictures.forms(pictures.stranger):
        assert_ranked(asking.retrieve_image(picture), expected)
        assert_ranked(await asking.aretrieve_image(picture), expected)


def test_a_path_in_words_stays_a_question_in_words(pictures: PictureWorld, tmp_path: Path) -> None:
    retriever = over(pictures, "in-memory", "two", tmp_path, raw=True)
    found = retriever.invoke(pictures.stranger)
    vector = pictures.encoder.encode_questions([pictures.stranger])[0]
    best = max(float(row @ vector) for row in pictures.vectors["text"])
    assert found[0].metadata["commonscale_cosine"] == pytest.approx(best, abs=1e-6)
    question = ImageQuestion(pictures.stranger)
    assert question == pictures.stranger
    assert [d.id for d in retriever.invoke(question)] != [d.id for d in found]
    # What string methods give is plain text again.
    assert retriever.invoke(question.strip()) == found


def test_foreign_embeddings_are_given_files(pictures: PictureWorld, tmp_path: Path) -> None:
    embeddings = OpeningEmbeddings()
    retriever = over(pictures, "in-memory", "two", tmp_path, embeddings=embeddings)
    retriever.calibrate_images(pictures.asked, method="standardized")
    assert embeddings.given == pictures.asked
    for picture in pictures.forms(pictures.stranger):
        embeddings.given.clear()
        assert_ranked(retriever.retrieve_image(picture), pictures.ranking(pictures.stranger, 8))
        [given] = embeddings.given
        # A file of its own for the time of the call, unless it is one already.
        assert (given == pictures.stranger) == isinstance(picture, (str, Path))
        assert Path(given).exists() == isinstance(picture, (str, Path))


async def test_foreign_embeddings_asynchronously(pictures: PictureWorld, tmp_path: Path) -> None:
    retriever = over(pictures, "in-memory", "two", tmp_path, embeddings=OpeningEmbeddings())
    await retriever.acalibrate_images(pictures.asked, method="standardized")
    for picture in pictures.forms(pictures.stranger):
        assert_ranked(await retriever.aretrieve_image(picture), pictures.ranking(pictures.stranger, 8))


async def test_words_and_pictures_in_one_batch(pictures: PictureWorld, tmp_path: Path) -> None:
    retriever = over(pictures, "in-memory", "two", tmp_path)
    retriever.calibrate(pictures.questions, images=pictures.asked, method="standardized")
    mixed = [pictures.questions[0], ImageQuestion(pictures.stranger), pictures.questions[1]]
    expected = [retriever.invoke(question) for question in mixed]
    assert_ranked(expected[1], pictures.ranking(pictures.stranger, 8))
    for found in (
        retriever.retrieve_batch(mixed),
        await retriever.aretrieve_batch(mixed),
        retriever.batch(mixed),
        await retriever.abatch(mixed),
    ):
        for one, other in zip(found, expected, strict=True):
            assert_ranked(one, [(d.id or "", d.metadata["commonscale_score"]) for d in other])


def test_each_kind_of_question_keeps_its_scale(pictures: PictureWorld, tmp_path: Path) -> None:
    retriever = over(pictures, "in-memory", "two", tmp_path)
    words = retriever.calibrate(pictures.questions, method="standardized")
    with pytest.raises(NotCalibratedError, match="calibrate_images"):
        retriever.retrieve_image(pictures.stranger)
    both = retriever.calibrate_images(pictures.asked, method="standardized")
    assert both.modalities == words.modalities
    assert retriever.calibrate(pictures.questions, method="standardized").image_questions is both.image_questions


async def test_a_saved_calibration_ranks_pictures_alike(pictures: PictureWorld, tmp_path: Path) -> None:
    for method in ("standardized", "chance", "centered+standardized"):
        first = over(pictures, "in-memory", "two", tmp_path)
        calibration = await first.acalibrate(pictures.questions, images=pictures.asked, method=method)
        calibration.save(tmp_path / "calibration.json")
        loaded = Calibration.load(tmp_path / "calibration.json")
        other = over(pictures, "in-memory", "two", tmp_path, calibration=loaded)
        for path in (pictures.stranger, pictures.pictures[3]):
            expected = [(d.id or "", d.metadata["commonscale_score"]) for d in first.retrieve_image(path)]
            assert_ranked(other.retrieve_image(path), expected)


async def test_embeddings_without_pictures_are_named(pictures: PictureWorld, tmp_path: Path) -> None:
    retriever = over(pictures, "in-memory", "two", tmp_path, embeddings=WordEmbeddings(), raw=True)
    with pytest.raises(InvalidInputError, match=r"WordEmbeddings of modality 'text' reads none.*embed_image\(\)"):
        retriever.retrieve_image(pictures.stranger)
    with pytest.raises(InvalidInputError, match="reads none"):
        await retriever.aretrieve_image(pictures.stranger)
    with pytest.raises(InvalidInputError, match="reads none"):
        retriever.calibrate_images(pictures.asked)
    ours = over(pictures, "in-memory", "two", tmp_path, embeddings=text_encoder(), raw=True)
    with pytest.raises(InvalidInputError, match="embed_image"):
        ours.retrieve_image(pictures.stranger)


def test_image_embeddings_of_one_modality_are_not_enough_for_both(pictures: PictureWorld, tmp_path: Path) -> None:
    split = over(
        pictures,
        "in-memory",
        "two",
        tmp_path,
        embeddings=WordEmbeddings(),
        image_embeddings=CommonscaleEmbeddings(pictures.encoder),
        raw=True,
    )
    with pytest.raises(InvalidInputError, match="of modality 'text'"):
        split.retrieve_image(pictures.stranger)
    images = StandardizedMultiModalRetriever(
        image_store=store(pictures, "in-memory", ["image"], tmp_path), embeddings=pictures.encoder, raw=True, k=8
    )
    assert_ranked(
        images.retrieve_image(pictures.stranger), pictures.ranking(pictures.stranger, 8, raw=True, only="image")
    )


def test_what_is_no_picture_is_refused(pictures: PictureWorld, asking: StandardizedMultiModalRetriever) -> None:
    with pytest.raises(ImageError, match=r"^Image '.*nowhere\.png': no such file"):
        asking.retrieve_image("nowhere.png")
    with pytest.raises(ImageError):
        asking.retrieve_image(b"no picture at all")
    with pytest.raises(ImageError, match="not a picture"):
        ImageQuestion(3)  # type: ignore[arg-type]
    for single in (pictures.stranger, b"x"):
        with pytest.raises(InvalidInputError, match="list"):
            asking.calibrate_images(single)  # type: ignore[arg-type]
    folder = str(Path(str(pictures.stranger)).parent)
    with pytest.raises(InvalidInputError, match=r"got a folder: .* sorted\(Path\(.*\.iterdir\(\)\)"):
        asking.calibrate_images(folder)
    with pytest.raises(InvalidInputError, match="unlabeled questions, got none"):
        asking.calibrate_images([])


class Recorder(BaseCallbackHandler):
    """Keeps what retrievers are asked and give."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.given: list[list[Document]] = []

    def on_retriever_start(self, serialized: dict[str, Any], query: str, *, run_id: UUID, **kwargs: Any) -> None:
        self.asked.append(query)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.given.append(list(documents))


async def test_callbacks_and_chains_go_on(pictures: PictureWorld, asking: StandardizedMultiModalRetriever) -> None:
    recorder = Recorder()
    config = {"callbacks": [recorder]}
    question = ImageQuestion(pictures.stranger)
    chain = {"context": asking, "question": RunnablePassthrough()} | RunnableLambda(lambda filled: filled)
    filled = chain.invoke(question, config)
    assert filled["question"] is question
    assert_ranked(filled["context"], pictures.ranking(pictures.stranger, 8))
    found = [
        asking.retrieve_image(pictures.stranger, config=config),
        await asking.aretrieve_image(pictures.stranger, config=config),
    ]
    assert recorder.given == [filled["context"], *found]
    assert json.dumps(recorder.asked) == json.dumps([pictures.stranger] * 3)


def test_a_standardizer_after_it_uses_the_scale_of_pictures(
    pictures: PictureWorld, asking: StandardizedMultiModalRetriever
) -> None:
    step = SimilarityStandardizer(calibration=asking.calibration)
    expected = pictures.ranking(pictures.stranger, 8)
    for picture in pictures.forms(pictures.stranger):
        question = ImageQuestion(picture)
        found = asking.invoke(question)
        assert_ranked(step.compress_documents(found, question), expected)
        assert_ranked(step(found), expected)
        with pytest.raises(InvalidInputError, match="another question"):
            step.compress_documents(found, ImageQuestion(pictures.pictures[0]))
    plain = [
        Document(id=d.id, page_content=d.page_content, metadata={"modality": d.metadata["modality"], "vector": row})
        for modality, rows in pictures.vectors.items()
        for d, row in zip(documents(pictures, modality), rows.tolist(), strict=True)
    ]
    compared = SimilarityStandardizer(
        calibration=asking.calibration, vectors="vector", embeddings=pictures.encoder, top_n=8
    )
    assert_ranked(compared.compress_documents(plain, ImageQuestion(pictures.stranger)), expected)


def test_a_question_survives_copies_and_pickling(
    pictures: PictureWorld, asking: StandardizedMultiModalRetriever
) -> None:
    expected = asking.retrieve_image(pictures.stranger)
    for picture in pictures.forms(pictures.stranger):
        question = ImageQuestion(picture, words="red")
        for other in (pickle.loads(pickle.dumps(question)), copy.copy(question), copy.deepcopy(question)):
            assert type(other) is ImageQuestion
            assert (str(other), other.picture, other.words) == (str(question), question.picture, "red")
            assert [d.id for d in asking.invoke(other)] == [d.id for d in expected]
        assert ImageQuestion(question).picture == question.picture


def test_its_text_is_short_and_hides_secrets(pictures: PictureWorld) -> None:
    assert str(ImageQuestion(Path("a") / "b.png")) == str(Path("a") / "b.png")
    assert repr(ImageQuestion("a.png")) == "ImageQuestion('a.png')"
    assert str(ImageQuestion("https://me:secret@host/a.png?token=1")) == "https://host/a.png"
    shown = {str(ImageQuestion(picture)) for picture in pictures.forms(pictures.stranger)[2:]}
    assert all(text.startswith("<image ") and len(text) < 30 for text in shown)


def test_words_beside_a_picture_serve_retrievers_that_search_by_words(pictures: PictureWorld, tmp_path: Path) -> None:
    pytest.importorskip("rank_bm25")
    from langchain_community.retrievers import BM25Retriever

    retriever = StandardizedMultiModalRetriever(
        text_store=BM25Retriever.from_documents(documents(pictures, "text")),
        image_store=store(pictures, "in-memory", ["image"], tmp_path),
        embeddings=pictures.encoder,
        k=8,
    )
    asked = [ImageQuestion(path, words=f"passage {n} " * (1 + n % 3)) for n, path in enumerate(pictures.asked[:30])]
    retriever.calibrate_images(asked, method="standardized")
    assert "t7" in [d.id for d in retriever.invoke(ImageQuestion(pictures.stranger, words="passage 7"))]
    with pytest.raises(InvalidInputError, match="has no words"):
        retriever.invoke(ImageQuestion(pictures.stranger))
