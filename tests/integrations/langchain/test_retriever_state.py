"""Calibration, pydantic and Runnable behavior of the retriever."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("langchain_core")

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.load import dumpd
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from commonscale import Calibration, JointSearch, ModalityCalibration, ModalityStatistics, Provenance
from commonscale.core.errors import (
    CalibrationMismatchError,
    EncoderMismatchError,
    FewQuestionsWarning,
    InvalidInputError,
    NotCalibratedError,
)
from commonscale.langchain import CommonscaleEmbeddings, StandardizedMultiModalRetriever
from langchain_world import DIMENSION, QUESTIONS, WordEmbeddings, World

QUESTION = "what is red"


def calibration_with(text_mean: float, **facts) -> Calibration:
    def entry(mean: float) -> ModalityCalibration:
        return ModalityCalibration(ModalityStatistics(mean, 0.1, 100), Provenance(**facts))

    return Calibration({"text": entry(text_mean), "image": entry(0.0)})


class ToyEncoder:
    """The encoder protocol over WordEmbeddings."""

    dimension = DIMENSION

    def __init__(self, fingerprint: str = "toy") -> None:
        self.fingerprint = fingerprint

    def encode_questions(self, questions):
        return np.array([WordEmbeddings().embed_query(question) for question in questions], dtype=np.float32)

    encode_texts = encode_images = encode_questions


def test_searching_needs_a_calibration(world, tmp_path):
    retriever = StandardizedMultiModalRetriever(**world.stores("in-memory", "two", tmp_path))
    with pytest.raises(NotCalibratedError, match=r"calibrate\(questions\)"):
        retriever.invoke(QUESTION)
    assert len(retriever.invoke(QUESTION, raw=True)) == 10


def test_calibrate_returns_and_keeps_the_calibration(retriever, tmp_path):
    calibration = retriever.calibrate(QUESTIONS, method="standardized")
    assert retriever.calibration is calibration
    assert calibration.questions == len(QUESTIONS)
    assert calibration.modalities["image"].provenance == Provenance(None, DIMENSION, "cosine")
    calibration.save(tmp_path / "calibration.json")
    before = retriever.invoke(QUESTION)
    retriever.calibration = Calibration.load(tmp_path / "calibration.json")
    assert retriever.invoke(QUESTION) == before


async def test_acalibrate(retriever):
    assert (await retriever.acalibrate(QUESTIONS, method="standardized")).modalities == retriever.calibrate(
        QUESTIONS, method="standardized"
    ).modalities


def test_calibration_can_be_a_field_and_be_assigned(retriever):
    retriever.calibration = calibration_with(text_mean=-5.0)
    assert {d.metadata["modality"] for d in retriever.invoke(QUESTION)} == {"text"}
    retriever.calibration = calibration_with(text_mean=5.0)
    assert {d.metadata["modality"] for d in retriever.invoke(QUESTION)} == {"image"}
    retriever.calibration = None
    with pytest.raises(NotCalibratedError):
        retriever.invoke(QUESTION)
    with pytest.raises(InvalidInputError, match="Calibration or None, got dict"):
        retriever.calibration = {}


def test_mismatching_calibration_is_refused_everywhere(world, retriever, tmp_path):
    wrong = calibration_with(0.0, dimension=512)
    with pytest.raises(CalibrationMismatchError, match="dimension 512, not 16"):
        retriever.calibration = wrong
    assert retriever.calibration is not wrong
    with pytest.raises(CalibrationMismatchError, match="dimension 512, not 16"):
        StandardizedMultiModalRetriever(**world.stores("in-memory", "two", tmp_path), calibration=wrong)
    with pytest.raises(CalibrationMismatchError, match="dimension 512, not 16"):
        retriever.model_copy(update={"calibration": wrong}).invoke(QUESTION)


def test_calibration_of_another_encoder_is_refused(world, tmp_path):
    stores = world.stores("in-memory", "two", tmp_path)
    retriever = StandardizedMultiModalRetriever(**stores, embeddings=ToyEncoder())
    calibration = retriever.calibrate(QUESTIONS, method="standardized")
    assert calibration.modalities["text"].provenance.encoder_fingerprint == "toy"
    with pytest.raises(CalibrationMismatchError, match="'toy', not 'other'"):
        StandardizedMultiModalRetriever(
            **stores, embeddings=CommonscaleEmbeddings(ToyEncoder("other")), calibration=calibration
        )


class NamedEmbeddings(WordEmbeddings):
    """Embeddings that say which model they call, as most do."""

    def __init__(self, **names) -> None:
        super().__init__()
        self.__dict__.update(names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"model": "small"}, "NamedEmbeddings:small"),
        ({"model_name": "small", "model": object()}, "NamedEmbeddings:small"),
        ({"fingerprint": "own", "model": "small"}, "own"),
        ({"model": object()}, None),
        ({"model": ""}, None),
    ],
)
def test_embeddings_are_identified_by_class_and_model(world, tmp_path, names, expected):
    stores = world.stores("in-memory", "two", tmp_path)
    retriever = StandardizedMultiModalRetriever(**stores, embeddings=NamedEmbeddings(**names))
    assert (
        retriever.calibrate(QUESTIONS, method="standardized").modalities["text"].provenance.encoder_fingerprint
        == expected
    )


def test_calibration_of_another_model_of_the_same_dimension_is_refused(world, tmp_path):
    stores = world.stores("in-memory", "two", tmp_path)
    retriever = StandardizedMultiModalRetriever(**stores, embeddings=NamedEmbeddings(model="small"))
    calibration = retriever.calibrate(QUESTIONS, method="standardized")
    same = StandardizedMultiModalRetriever(**stores, embeddings=NamedEmbeddings(model="small"), calibration=calibration)
    assert same.invoke(QUESTION) == retriever.invoke(QUESTION)
    with pytest.raises(CalibrationMismatchError, match="'NamedEmbeddings:small', not 'NamedEmbeddings:large'"):
        StandardizedMultiModalRetriever(**stores, embeddings=NamedEmbeddings(model="large"), calibration=calibration)


def test_the_search_is_made_once_per_wiring_and_calibration(world, tmp_path, monkeypatch):
    made = []

    class Counted(JointSearch):
        def __init__(self, *arguments, **options) -> None:
            made.append(self)
            super().__init__(*arguments, **options)

    monkeypatch.setattr("commonscale.langchain.wiring.JointSearch", Counted)
    retriever = StandardizedMultiModalRetriever(**world.stores("in-memory", "two", tmp_path))
    retriever.calibrate(QUESTIONS, method="standardized")
    retriever.invoke(QUESTION)
    count = len(made)
    first = retriever.invoke(QUESTION)
    retriever.bind(k=3).invoke(QUESTION)
    retriever.model_copy(update={"k": 4}).invoke(QUESTION)
    retriever.retrieve_batch([QUESTION])
    assert len(made) == count
    for mean, modality in ((-5.0, "text"), (5.0, "image")):
        copied = retriever.model_copy(update={"calibration": calibration_with(mean)})
        assert {d.metadata["modality"] for d in copied.invoke(QUESTION)} == {modality}
    assert len(made) == count + 2
    assert retriever.invoke(QUESTION) == first


def test_index_of_another_encoder_is_refused(tmp_path):
    pytest.importorskip("faiss")
    from commonscale.index import FaissIndex

    index = FaissIndex.create(tmp_path / "index", DIMENSION, encoder_fingerprint="made-by")
    with pytest.raises(EncoderMismatchError, match=r"'made-by'.*'toy'"):
        StandardizedMultiModalRetriever(store=index, embeddings=ToyEncoder())


def test_calibration_of_an_index_fits_the_index_whatever_embeds_the_questions(tmp_path):
    pytest.importorskip("faiss")
    from commonscale.index import Document, FaissIndex

    index = FaissIndex.create(tmp_path / "index", DIMENSION, encoder_fingerprint="toy")
    names = [f"passage {number}" for number in range(20)]
    index.add([Document(name, "text") for name in names], ToyEncoder().encode_texts(names))
    retriever = StandardizedMultiModalRetriever(store=index, modalities=["text"], embeddings=WordEmbeddings())
    calibration = retriever.calibrate(QUESTIONS, method="standardized")
    assert (
        calibration.modalities["text"].provenance
        == index.provenance()["text"]
        == Provenance("toy", DIMENSION, "cosine")
    )
    assert (
        StandardizedMultiModalRetriever(
            store=index, modalities=["text"], embeddings=ToyEncoder(), calibration=calibration
        )
        .invoke("passage 3", k=1)[0]
        .id
        == "passage 3"
    )


def test_copies_follow_their_own_fields(world, retriever, tmp_path):
    before = retriever.invoke(QUESTION)
    other = retriever.model_copy(update={"calibration": calibration_with(-5.0), "k": 3})
    assert [d.metadata["modality"] for d in other.invoke(QUESTION)] == ["text"] * 3
    assert retriever.invoke(QUESTION) == before
    empty = World(texts=2, images=1).stores("in-memory", "two", tmp_path)
    assert len(retriever.model_copy(update=empty).invoke(QUESTION)) == 3
    retriever.text_store = empty["text_store"]
    assert len(retriever.invoke(QUESTION, k=100)) == 2 + 25


def test_bind_with_config_and_configurable_fields(retriever):
    assert len(retriever.bind(k=2).invoke(QUESTION)) == 2
    assert len(retriever.with_config(tags=["x"]).invoke(QUESTION)) == 10
    configurable = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(configurable.invoke(QUESTION, config={"configurable": {"k": 4}})) == 4
    assert len(configurable.invoke(QUESTION)) == 10


def test_serializing_says_that_it_cannot_be_serialized(retriever):
    dumped = dumpd(retriever)
    assert dumped["type"] == "not_implemented"
    json.dumps(dumped)


def test_swapping_the_calibration_never_mixes_two(retriever):
    """Scores of one answer all fit one of two scales, whatever another thread assigns meanwhile."""
    scales = [calibration_with(0.5), replace(calibration_with(0.1), questions=1)]
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for scale in scales:
                retriever.calibration = scale

    retriever.calibration = scales[0]
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(60):
            found = retriever.invoke(QUESTION, minimum={"text": 2, "image": 2})
            fitting = [
                scale
                for scale in scales
                if all(
                    d.metadata["commonscale_score"]
                    == scale.standardize([d.metadata["commonscale_cosine"]], d.metadata["commonscale_modality"])[0]
                    for d in found
                )
            ]
            assert len(fitting) == 1
    finally:
        stop.set()
        thread.join()


def test_tracing_names_stores_and_embeddings(world, tmp_path):
    pytest.importorskip("langchain_community")
    pytest.importorskip("faiss")
    stores = {
        "text_store": world.store("in-memory", ["text"], tmp_path),
        "image_store": world.store("faiss-ip", ["image"], tmp_path),
    }
    assert StandardizedMultiModalRetriever(**stores)._get_ls_params() == {
        "ls_retriever_name": "standardizedmultimodal",
        "ls_vector_store_provider": "InMemoryVectorStore, FAISS",
        "ls_embedding_provider": "WordEmbeddings",
    }


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def on_retriever_start(self, serialized, query, **kwargs) -> None:
        self.events.append(("start", query))

    def on_retriever_end(self, documents, **kwargs) -> None:
        self.events.append(("end", len(documents)))

    def on_retriever_error(self, error, **kwargs) -> None:
        self.events.append(("error", type(error)))


class AsyncRecorder(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    async def on_retriever_start(self, serialized, query, **kwargs) -> None:
        self.events.append(("start", query))

    async def on_retriever_end(self, documents, **kwargs) -> None:
        self.events.append(("end", len(documents)))


async def test_callbacks_are_called_for_every_question(retriever):
    recorder, arecorder = Recorder(), AsyncRecorder()
    retriever.batch(["a", "b"], config={"callbacks": [recorder]}, k=2)
    await retriever.abatch(["a", "b"], config={"callbacks": [arecorder]}, k=2)
    for events in (recorder.events, arecorder.events):
        assert sorted(events, key=str) == [("end", 2), ("end", 2), ("start", "a"), ("start", "b")]
    with pytest.raises(InvalidInputError):
        retriever.invoke("a", config={"callbacks": [recorder]}, k=-1)
    assert recorder.events[-1] == ("error", InvalidInputError)


def test_few_questions_are_warned_of(retriever):
    with pytest.warns(FewQuestionsWarning, match="2 different questions") as caught:
        retriever.calibrate(["one", "two"], method="standardized")
    assert {warning.filename for warning in caught} == {__file__}


def test_progress_bar(retriever, capsys):
    pytest.importorskip("tqdm")
    retriever.calibrate(QUESTIONS, show_progress=True, method="standardized")
    assert "calibrating" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give either text_store and image_store, or store.*got none"),
        ({"store": WordEmbeddings(), "text_store": WordEmbeddings()}, r"got store and \['text'\] stores"),
    ],
)
def test_stores_must_be_given_in_one_way(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        StandardizedMultiModalRetriever(**fields)


def test_embeddings_must_be_known(world):
    from sources import ArraySource

    source = ArraySource(world.ids["text"], world.vectors["text"])
    with pytest.raises(
        InvalidInputError, match="no embeddings are known for modality 'text': the ArraySource has none"
    ):
        StandardizedMultiModalRetriever(text_store=source)
    with pytest.raises(InvalidInputError, match="embed_query and embed_documents, or an encoder, are needed, got str"):
        StandardizedMultiModalRetriever(text_store=source, embeddings="clip")


def test_wrong_arguments_are_named(world, retriever, tmp_path):
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        StandardizedMultiModalRetriever(**world.stores("in-memory", "two", tmp_path), k=0)
    with pytest.raises(InvalidInputError, match="k must be an integer of at least 1, got 0"):
        retriever.invoke(QUESTION, k=0)
    with pytest.raises(
        InvalidInputError, match="a list of questions is needed, got one question: 'one question'; put it"
    ):
        retriever.calibrate("one question", method="standardized")
    with pytest.raises(InvalidInputError, match="questions must be strings"):
        retriever.invoke({"question": "x"})
    with pytest.raises(InvalidInputError, match="unknown modality 'audio'"):
        retriever.invoke(QUESTION, minimum={"audio": 1})
    with pytest.raises(InvalidInputError, match="got none"):
        retriever.calibrate([], method="standardized")
    assert retriever.retrieve_batch([]) == []


def test_embeddings_that_break_their_contract_are_named(world, tmp_path):
    stores = world.stores("in-memory", "two", tmp_path)

    class Nested(WordEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return [super().embed_query(text)]  # type: ignore[list-item]

    class Short(WordEmbeddings):
        def embed_queries(self, texts):
            return []

    class Null(WordEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return [0.0] * DIMENSION

    for embeddings, message in [
        (Nested(), r"Nested gave an array of shape \(1, 16\)"),
        (Short(), "Short gave 0 vectors for 1 questions"),
        (Null(), "question vector 0 .null"),
        (WordEmbeddings(8), r"shape \(8,\) where the documents of modality 'text' have \(16,\)"),
    ]:
        retriever = StandardizedMultiModalRetriever(**stores, embeddings=embeddings, raw=True)
        with pytest.raises(InvalidInputError, match=message):
            retriever.invoke(QUESTION)
