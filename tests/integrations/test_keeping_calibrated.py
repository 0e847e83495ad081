"""What retrievers of both frameworks keep, lose and say when they begin, or cease, to follow a living calibration."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("langchain_core")
pytest.importorskip("PIL")

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore

import commonscale.langchain as langchain
import commonscale.llama_index as llama_index
from commonscale import Calibration, LivingCalibration
from commonscale.core.errors import (
    CalibrationMismatchError,
    FileFormatError,
    InvalidInputError,
    StaleCalibrationWarning,
)
from langchain_world import add_to_memory
from picture_world import PictureWorld, encoder

LATE = "question 0"
"""A passage that comes late, and is the best hit of one question."""


class LlamaIndex:
    """A retriever over a SimpleVectorStore that tells of its changes."""

    centered = llama_index.CenteredEmbedding

    def __init__(self, world: PictureWorld, fingerprint: str = "pictures-1") -> None:
        texts = [
            TextNode(id_=i, text=text, metadata={"modality": "text"}, embedding=row.tolist())
            for i, text, row in zip(world.ids["text"], world.texts, world.vectors["text"], strict=True)
        ]
        pictures = [
            ImageNode(id_=i, image_path=path, metadata={"modality": "image"}, embedding=row.tolist())
            for i, path, row in zip(world.ids["image"], world.pictures, world.vectors["image"], strict=True)
        ]
        self.store = llama_index.LiveVectorStore(SimpleVectorStore())
        self.store.add([*texts, *pictures])
        self.model = llama_index.CommonscaleEmbedding(encoder(fingerprint))
        self.retriever: Any = llama_index.StandardizedMultiModalRetriever(
            store=self.store, nodes={node.node_id: node for node in [*texts, *pictures]}, embed_model=self.model
        )

    def add(self) -> None:
        row = encoder().encode_texts([LATE])[0].tolist()
        self.store.add([TextNode(id_="late", text=LATE, metadata={"modality": "text"}, embedding=row)])


class LangChain:
    """A retriever over an InMemoryVectorStore that tells of its changes."""

    centered = langchain.CenteredEmbeddings

    def __init__(self, world: PictureWorld, fingerprint: str = "pictures-1") -> None:
        self.model = langchain.CommonscaleEmbeddings(encoder(fingerprint))
        store = InMemoryVectorStore(self.model)
        for modality, contents in (("text", world.texts), ("image", world.pictures)):
            documents = [
                Document(id=i, page_content=content, metadata={"modality": modality})
                for i, content in zip(world.ids[modality], contents, strict=True)
            ]
            add_to_memory(store, documents, world.vectors[modality])
        self.store = langchain.LiveVectorStore(store)
        self.retriever: Any = langchain.StandardizedMultiModalRetriever(store=self.store, embeddings=self.model)

    def add(self) -> None:
        self.store.add_texts([LATE], [{"modality": "text"}], ids=["late"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PictureWorld:
    return PictureWorld(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(params=[LlamaIndex, LangChain])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def framework(kind: Any, world: PictureWorld) -> Any:
    return kind(world)


def means(calibration: Calibration) -> dict[str, float]:
    return {modality: entry.statistics.mean for modality, entry in calibration.modalities.items()}


async def test_the_scale_of_pictures_stays(framework: Any, world: PictureWorld) -> None:
    retriever = framework.retriever
    pictures = retriever.calibrate_images(world.asked, method="standardized").image_questions
    with pytest.warns(StaleCalibrationWarning, match=r"questions that are pictures stays .*; give images= as well"):
        living = retriever.keep_calibrated(world.questions, method="standardized")
    assert living.calibration.image_questions is None
    assert retriever.calibration.image_questions is pictures
    before = means(retriever.calibration)
    framework.add()
    assert means(retriever.calibration) == means(living.calibration) != before
    assert retriever.calibration.image_questions is pictures
    with pytest.warns(StaleCalibrationWarning, match="questions that are pictures stays"):
        await retriever.akeep_calibrated(world.questions, method="standardized")
    assert retriever.calibration.image_questions is pictures
    # Both kinds are kept: nothing to say.
    living = retriever.keep_calibrated(world.questions, images=world.asked, method="standardized")
    assert retriever.calibration is living.calibration


def test_the_scale_of_words_stays(framework: Any, world: PictureWorld) -> None:
    retriever = framework.retriever
    words = retriever.calibrate(world.questions, method="standardized")
    with pytest.warns(StaleCalibrationWarning, match=r"questions in words stays .*; give questions as well"):
        living = retriever.keep_calibrated(images=world.asked, method="standardized")
    framework.add()
    assert means(retriever.calibration) == means(words)
    assert retriever.calibration.image_questions is living.calibration.image_questions


def test_pictures_that_join_take_over(framework: Any, world: PictureWorld) -> None:
    retriever = framework.retriever
    retriever.calibrate_images(world.asked, method="standardized")
    with pytest.warns(StaleCalibrationWarning):
        living = retriever.keep_calibrated(world.questions, method="standardized")
    other = type(framework)(world).retriever
    asked = other.keep_calibrated(images=world.asked, method="standardized").questions("image")
    living.join(asked)
    assert retriever.calibration is living.calibration
    assert retriever.calibration.image_questions is not None


def test_lost_strata_are_named(framework: Any, world: PictureWorld) -> None:
    retriever = framework.retriever
    keys = ["ab"[i % 2] for i in range(len(world.questions))]
    retriever.calibrate(world.questions, strata=keys, method="standardized")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        retriever.keep_calibrated(world.questions, strata=keys, method="standardized")
    with pytest.warns(StaleCalibrationWarning, match="scales of strata 'a', 'b' are gone"):
        retriever.keep_calibrated(world.questions, method="standardized")
    assert retriever.calibration.strata == {}


def test_strata_of_a_watched_bank_are_not_lost_in_silence(framework: Any, world: PictureWorld) -> None:
    keys = ["a"] * len(world.questions)
    framework.retriever.calibrate(world.questions, strata=keys, method="standardized")
    pictures = framework.retriever.calibrate_images(world.asked, method="standardized").image_questions
    with pytest.warns(StaleCalibrationWarning, match="strata 'a' are gone"):
        framework.retriever.watch_drift(world.questions, method="standardized")
    assert framework.retriever.calibration.image_questions is pictures


@pytest.mark.parametrize("images", [False, True])
async def test_calibrating_anew_says_that_it_ends(framework: Any, world: PictureWorld, images: bool) -> None:
    retriever = framework.retriever
    retriever.keep_calibrated(world.questions, method="standardized")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if images:
            mine = retriever.calibrate_images(world.asked, method="standardized")
        else:
            mine = await retriever.acalibrate(world.questions, method="standardized")
        # Said once; and again only if it was begun again.
        mine = retriever.calibrate(world.questions, method="standardized")
    assert [one.category for one in told] == [StaleCalibrationWarning]
    assert "no longer kept up to date" in str(told[0].message)
    assert framework.store.changes.watchers == ()
    framework.add()
    assert retriever.calibration is mine


def test_a_saved_living_calibration_goes_on(kind: Any, world: PictureWorld, tmp_path: Path) -> None:
    first = kind(world)
    saved = first.retriever.keep_calibrated(world.questions, images=world.asked, method="chance")
    saved.save(tmp_path / "living.npz")
    second = kind(world)
    living = second.retriever.keep_loaded(tmp_path / "living.npz")
    assert isinstance(living, LivingCalibration)
    assert second.retriever.calibration is living.calibration
    assert means(living.calibration) == means(saved.calibration)
    assert living.searched == living.scans == 0
    first.add()
    second.add()
    assert means(second.retriever.calibration) == {
        m: pytest.approx(mean, abs=1e-6) for m, mean in means(first.retriever.calibration).items()
    }
    documents = second.retriever.calibration.modalities["text"].correction.documents
    assert "late" in documents.ids


def test_what_cannot_be_loaded_is_refused(kind: Any, world: PictureWorld, tmp_path: Path) -> None:
    framework = kind(world)
    framework.retriever.keep_calibrated(world.questions, method="standardized").save(tmp_path / "living.npz")
    framework.retriever.calibration.save(tmp_path / "calibration.json")
    with pytest.raises(FileFormatError, match=r"read it with Calibration\.load"):
        framework.retriever.keep_loaded(tmp_path / "calibration.json")
    other = kind(world, fingerprint="another").retriever
    with pytest.raises(CalibrationMismatchError, match="encoder"):
        other.keep_loaded(tmp_path / "living.npz")
    assert other.calibration is None


def test_a_scale_of_pictures_of_other_models_is_left_out(world: PictureWorld) -> None:
    framework = LangChain(world)
    retriever = framework.retriever
    retriever.calibrate_images(world.asked, method="standardized")
    retriever.embeddings = langchain.CommonscaleEmbeddings(encoder("another"))
    living = retriever.keep_calibrated(world.questions, method="standardized")
    assert retriever.calibration is living.calibration


def test_a_string_of_strata_is_refused(framework: Any, world: PictureWorld) -> None:
    for learn in (framework.retriever.calibrate, framework.retriever.keep_calibrated):
        with pytest.raises(InvalidInputError, match="strata is a list of keys"):
            learn(world.questions, strata="a" * len(world.questions), method="standardized")
        with pytest.raises(InvalidInputError, match="39 strata come with 40 questions in words and 40 pictures"):
            learn(world.questions, images=world.asked, strata=["a"] * 39, method="standardized")


def test_what_retrievers_and_models_print_is_short(framework: Any, world: PictureWorld) -> None:
    framework.retriever.calibrate(world.questions, images=world.asked, method="chance")
    assert len(repr(framework.retriever)) < 2000
    centering = framework.retriever.calibration.centering
    centered = framework.centered(framework.model, centering, modality="text")
    assert "Centering(dimensions={'text': 16, 'image': 16})" in repr(centered)
    assert len(repr(centered)) < 1000
