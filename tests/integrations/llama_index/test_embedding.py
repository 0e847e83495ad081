from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, TextNode

from commonscale.core.errors import InvalidInputError, MissingExtraError
from commonscale.llama_index import CommonscaleEmbedding, StandardizedMultiModalRetriever
from sources import unit_rows


class Encoder:
    """Gives questions, texts and images different vectors, and records its batches."""

    dimension = 8
    fingerprint = "sha256:abc"

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Any]]] = []

    def encode_questions(self, texts: list[str]) -> np.ndarray:
        return self._encode("question", texts)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return self._encode("text", texts)

    def encode_images(self, images: list[Any]) -> np.ndarray:
        return self._encode("image", images)

    def _encode(self, kind: str, items: list[Any]) -> np.ndarray:
        self.batches.append((kind, list(items)))
        seeds = [zlib.crc32(f"{kind} {item}".encode()) for item in items]
        return np.concatenate([unit_rows(np.random.default_rng(seed), 1, self.dimension) for seed in seeds])


async def test_every_method_reaches_the_encoder() -> None:
    encoder = Encoder()
    model = CommonscaleEmbedding(encoder, embed_batch_size=2)
    question = encoder.encode_questions(["who"])[0].tolist()
    text = encoder.encode_texts(["who"])[0].tolist()
    image = encoder.encode_images(["a.png"])[0].tolist()
    assert model.get_query_embedding("who") == await model.aget_query_embedding("who") == question
    assert model.get_text_embedding("who") == await model.aget_text_embedding("who") == text
    assert model.get_image_embedding("a.png") == await model.aget_image_embedding("a.png") == image
    assert model.get_agg_embedding_from_queries(["who"]) == question
    encoder.batches.clear()
    assert model.get_text_embedding_batch(["a", "b", "c"]) == await model.aget_text_embedding_batch(["a", "b", "c"])
    assert model.get_image_embedding_batch(["a.png"] * 3) == await model.aget_image_embedding_batch(["a.png"] * 3)
    assert sorted(len(items) for _, items in encoder.batches) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert model.get_query_embedding_batch(["a", "b"]) == await model.aget_query_embedding_batch(["a", "b"])


def test_images_in_memory_reach_the_encoder_as_bytes() -> None:
    encoder = Encoder()
    CommonscaleEmbedding(encoder).get_image_embedding(BytesIO(b"png"))
    assert encoder.batches == [("image", [b"png"])]


def test_identity() -> None:
    encoder = Encoder()
    model = CommonscaleEmbedding(encoder)
    assert (model.fingerprint, model.model_name) == ("sha256:abc", "sha256:abc")
    assert model.class_name() == "CommonscaleEmbedding"
    named = CommonscaleEmbedding(encoder, model_name="clip")
    assert (named.fingerprint, named.model_name) == ("sha256:abc", "clip")
    data = named.to_dict()
    assert "encoder" not in data
    again = CommonscaleEmbedding.from_dict(data, encoder=encoder)
    assert (again.model_name, again.encoder) == ("clip", encoder)


def test_copies_embed_as_the_original() -> None:
    model = CommonscaleEmbedding(Encoder())
    expected = model.get_query_embedding("who")
    for again in (
        copy.copy(model),
        copy.deepcopy(model),
        model.model_copy(deep=True),
        pickle.loads(pickle.dumps(model)),
    ):
        assert again.get_query_embedding("who") == expected
        assert again.fingerprint == model.fingerprint
    assert copy.deepcopy(model).encoder is not model.encoder


async def test_one_call_runs_at_a_time_whatever_the_copies() -> None:
    running = threading.Semaphore(1)

    class Alone(Encoder):
        def _encode(self, kind: str, items: list[Any]) -> np.ndarray:
            assert running.acquire(blocking=False)
            try:
                return super()._encode(kind, items)
            finally:
                running.release()

    model = CommonscaleEmbedding(Alone(), embed_batch_size=1)
    other = copy.deepcopy(model)
    texts = [f"text {i}" for i in range(50)]
    calls = [m.aget_text_embedding_batch(texts) for m in (model, other)]
    first, second = await asyncio.gather(*calls)
    assert first == second == [model.get_text_embedding(text) for text in texts]


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="lacks encode_questions, encode_texts, encode_images"):
        CommonscaleEmbedding(object())


def test_a_name_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    import commonscale.encoders

    encoder = Encoder()
    monkeypatch.setattr(commonscale.encoders, "load_encoder", lambda name: {"tiny": encoder}[name])
    assert CommonscaleEmbedding(Path("tiny")).encoder is encoder


def test_index_and_retriever_with_an_encoder() -> None:
    encoder = Encoder()
    model = CommonscaleEmbedding(encoder)
    nodes = [TextNode(id_=f"t{i}", text="x" * i) for i in range(1, 6)]
    nodes += [ImageNode(id_=f"i{i}", image_path=f"{'y' * i}.png", metadata={"n": i}) for i in range(1, 6)]
    index = MultiModalVectorStoreIndex(nodes, embed_model=model, image_embed_model=model)
    retriever = StandardizedMultiModalRetriever.from_index(index)
    encoder.batches.clear()
    questions = [f"question {i}" for i in range(40)]
    calibration = retriever.calibrate(questions, method="standardized")
    assert [len(items) for _, items in encoder.batches] == [10, 10, 10, 10]  # LlamaIndex's default batch size
    assert calibration.modalities["image"].provenance.encoder_fingerprint == "sha256:abc"
    assert len(retriever.retrieve("another")) == 10


def test_without_llama_index(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    for name in list(sys.modules):
        if name.partition(".")[0] == "llama_index" or name.startswith("commonscale.llama_index"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llama_index", None)
    with pytest.raises(MissingExtraError) as caught:
        importlib.import_module("commonscale.llama_index")
    assert str(caught.value).splitlines()[-1] == "pip install 'commonscale[llama-index]'"
