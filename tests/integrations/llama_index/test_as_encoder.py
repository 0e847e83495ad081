"""LlamaIndex's embedding models where an encoder of Commonscale is taken."""

from __future__ import annotations

import base64
import pickle
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")

import torch
from llama_index.core.embeddings import MockEmbedding
from PIL import Image

from commonscale.core.errors import (
    CalibrationMismatchError,
    EncoderError,
    EncoderMismatchError,
    ImageError,
    InvalidInputError,
    SkippedImageWarning,
)
from commonscale.encoders import CachedEncoder, CallableEncoder, Encoder, load_encoder
from commonscale.llama_index import (
    CommonscaleEmbedding,
    LlamaIndexEncoder,
    StandardizedMultiModalRetriever,
    add_images,
    add_texts,
)
from llama_clip import ClipEmbedding
from tiny_models import DIMENSION, save_tiny_clip

QUESTIONS = [
    f"{a} {b} {c}"
    for a in ("a", "the", "two")
    for b in ("dog", "cat", "red cat")
    for c in ("runs", "on grass", "of", "sleeps")
]
TEXTS = ["a red dog", "the blue cat sleeps", "two dog on grass", "a photo of the cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (40, 30 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return sorted(str(path) for path in place.iterdir())


@pytest.fixture
def model(folder: Path) -> ClipEmbedding:
    return ClipEmbedding(folder, embed_batch_size=2)


def test_gives_the_models_vectors_with_norm_one(model: ClipEmbedding, folder: Path, pictures: list[str]) -> None:
    encoder = LlamaIndexEncoder(model)
    assert isinstance(encoder, Encoder)
    ours = load_encoder(str(folder), device="cpu")
    assert encoder.dimension == DIMENSION
    np.testing.assert_allclose(encoder.encode_questions(TEXTS), ours.encode_questions(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), ours.encode_texts(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(pictures), ours.encode_images(pictures), atol=1e-5)
    assert encoder.encode_texts(TEXTS).dtype == np.float32
    for method in (encoder.encode_questions, encoder.encode_texts, encoder.encode_images):
        assert method([]).shape == (0, DIMENSION)


def test_questions_go_through_query_methods(folder: Path) -> None:
    model = ClipEmbedding(folder, query_instruction="two dog ")
    encoder = LlamaIndexEncoder(model)
    assert np.array_equal(encoder.encode_questions(["runs"]), encoder.encode_texts(["two dog runs"]))
    assert not np.array_equal(encoder.encode_questions(["runs"]), encoder.encode_texts(["runs"]))


def test_a_batch_goes_to_the_model_at_once(model: ClipEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    one = ClipEmbedding._get_text_embedding

    def many(self: ClipEmbedding, texts: list[str]) -> list[list[float]]:
        sizes.append(len(texts))
        return [one(self, text) for text in texts]

    monkeypatch.setattr(ClipEmbedding, "_get_text_embeddings", many)
    LlamaIndexEncoder(model).encode_texts([*TEXTS, "a"])
    assert sizes == [2, 2, 1]


def test_pictures_come_as_paths_or_in_memory(model: ClipEmbedding, pictures: list[str]) -> None:
    encoder = LlamaIndexEncoder(model)
    content = Path(pictures[0]).read_bytes()
    with Image.open(pictures[0]) as image:
        image.load()
    given = [pictures[0], Path(pictures[0]), content, BytesIO(content), image, base64.b64encode(content).decode()]
    vectors = encoder.encode_images(given)
    np.testing.assert_allclose(vectors, np.repeat(vectors[:1], len(given), axis=0), atol=1e-6)
    assert [type(source) for source in model.given] == [str, str, BytesIO, BytesIO, BytesIO, BytesIO]


def test_a_bad_picture_is_named_or_reported(model: ClipEmbedding, pictures: list[str], tmp_path: Path) -> None:
    encoder = LlamaIndexEncoder(model)
    (tmp_path / "broken.png").write_bytes(Path(pictures[0]).read_bytes()[:50])
    given = [*pictures[:3], str(tmp_path / "broken.png"), pictures[4], "missing.png"]
    with pytest.raises(ImageError, match=r"Image 3, '.*broken\.png': "):
        encoder.encode_images(given)
    batch = encoder.encode_images_reporting(given)
    assert batch.kept == (0, 1, 2, 4)
    assert np.array_equal(batch.vectors, encoder.encode_images([given[place] for place in batch.kept]))
    assert [failure.index for failure in batch.failures] == [3, 5]
    assert "FileNotFoundError" in batch.failures[1].reason


def test_a_text_model_embeds_texts_only() -> None:
    encoder = LlamaIndexEncoder(MockEmbedding(embed_dim=4, model_name="mock"))
    assert encoder.encode_texts(["a", "b"]).tolist() == [[0.5] * 4] * 2
    assert encoder.dimension == 4
    with pytest.raises(InvalidInputError, match=r"MockEmbedding reads no images: .*multimodal embedding model or"):
        encoder.encode_images(["a.png"])


def test_fingerprints_tell_what_changes_vectors(folder: Path) -> None:
    def of(**settings: Any) -> str:
        return str(LlamaIndexEncoder(ClipEmbedding(folder, **settings)).fingerprint)

    assert of() == of(embed_batch_size=3) == of(api_key="secret") == of(num_workers=4) == "ClipEmbedding:tiny-clip"
    assert of(model_name="other") == "ClipEmbedding:other"
    assert of(query_instruction="two ").startswith("ClipEmbedding:tiny-clip:")
    assert len({of(), of(query_instruction="two "), of(query_instruction="a "), of(model_name="other")}) == 4
    assert of(query_instruction="two ") == of(query_instruction="two ", embed_batch_size=7)
    named = LlamaIndexEncoder(ClipEmbedding(folder), fingerprint="mine-2")
    assert named.fingerprint == "mine-2"


class Pooling(Enum):
    CLS = 1
    MEAN = 2


class Settled(MockEmbedding):
    """A model with settings of the kinds that packages of LlamaIndex have."""

    model_name: str = "mock"
    model_kwargs: dict[str, Any] | None = None
    weights: Path | None = None
    pooling: Pooling = Pooling.CLS
    repo_id: str = ""
    base_model: str = ""
    api_base: str = ""
    base_url: str = ""


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("model_kwargs", [{"torch_dtype": torch.float16}, {"torch_dtype": torch.float32}, {"torch_dtype": "auto"}]),
        ("weights", [Path("a.pt"), Path("b.pt")]),
        ("pooling", [Pooling.MEAN]),
        ("repo_id", ["someone/a", "someone/b"]),
        ("base_model", ["a", "b"]),
    ],
)
def test_settings_of_any_kind_are_in_the_fingerprint(setting: str, values: list[Any]) -> None:
    def of(**settings: Any) -> str:
        return str(LlamaIndexEncoder(Settled(embed_dim=4, **settings)).fingerprint)

    prints = [of(), *(of(**{setting: value}) for value in values)]
    assert len(set(prints)) == len(prints)
    assert prints == [of(), *(of(**{setting: value}) for value in values)]
    # Neither an address nor a second name that repeats the first is another model.
    assert of() == of(api_base="http://a", base_url="http://b") == of(repo_id="mock")


def test_a_model_without_a_name_needs_a_fingerprint() -> None:
    with pytest.raises(InvalidInputError, match=r"MockEmbedding does not say which model it is .*give fingerprint="):
        LlamaIndexEncoder(MockEmbedding(embed_dim=4))
    assert LlamaIndexEncoder(MockEmbedding(embed_dim=4), fingerprint="ones-4").dimension == 4
    with pytest.raises(InvalidInputError, match="fingerprint must be a text"):
        LlamaIndexEncoder(MockEmbedding(embed_dim=4), fingerprint="")


def test_an_encoder_is_not_wrapped_twice(model: ClipEmbedding) -> None:
    own = CallableEncoder(embed_text=lambda texts: [[1.0, len(text)] for text in texts], fingerprint="own")
    assert LlamaIndexEncoder(CommonscaleEmbedding(own)) is own
    encoder = LlamaIndexEncoder(model)
    again = LlamaIndexEncoder(CommonscaleEmbedding(encoder))
    assert again is encoder
    assert encoder.embed_model is model
    with pytest.raises(InvalidInputError, match="has a fingerprint of its own; leave fingerprint= out"):
        LlamaIndexEncoder(CommonscaleEmbedding(own), fingerprint="other")


def test_no_model() -> None:
    with pytest.raises(InvalidInputError, match="a LlamaIndex embedding model is needed, got str"):
        LlamaIndexEncoder("clip")


def test_looking_at_an_encoder_does_not_embed(model: ClipEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise EncoderError("embedded")

    monkeypatch.setattr(ClipEmbedding, "_get_text_embedding", never)
    monkeypatch.setattr(ClipEmbedding, "_get_query_embedding", never)
    CommonscaleEmbedding(LlamaIndexEncoder(model))
    CachedEncoder(LlamaIndexEncoder(model), "nowhere")


def test_pickles_with_its_model() -> None:
    encoder = LlamaIndexEncoder(MockEmbedding(embed_dim=4), fingerprint="ones-4")
    again = pickle.loads(pickle.dumps(encoder))
    assert (again.fingerprint, again.encode_texts(["a"]).tolist()) == ("ones-4", [[0.5] * 4])


@pytest.mark.parametrize("vectors", [[[1.0, 2.0]], [[1.0], [1.0, 2.0]]], ids=["few", "ragged"])
def test_vectors_that_do_not_fit_are_an_error(monkeypatch: pytest.MonkeyPatch, vectors: Any) -> None:
    monkeypatch.setattr(MockEmbedding, "_get_text_embeddings", lambda *_: vectors)
    encoder = LlamaIndexEncoder(MockEmbedding(embed_dim=2, model_name="mock"))
    with pytest.raises(EncoderError, match=r"MockEmbedding.* gave vectors of shape .* for 2 texts"):
        encoder.encode_texts(["a", "b"])


def test_a_null_vector_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MockEmbedding, "_get_text_embeddings", lambda _self, texts: [[0.0, 0.0] for _ in texts])
    with pytest.raises(EncoderError, match="no direction"):
        LlamaIndexEncoder(MockEmbedding(embed_dim=2, model_name="mock")).encode_texts(["a"])


def test_through_a_cache_an_index_and_a_retriever(model: ClipEmbedding, pictures: list[str], tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import FaissIndex

    with CachedEncoder(LlamaIndexEncoder(model), tmp_path / "cache") as encoder:
        for attempt in range(2):
            index = FaissIndex.create(tmp_path / str(attempt), DIMENSION, encoder_fingerprint=encoder.fingerprint)
            add_texts(index, TEXTS, encoder)
            add_images(index, pictures, encoder)
            assert len(model.given) == (len(pictures) if attempt == 0 else 0)
            model.given.clear()
        retriever = StandardizedMultiModalRetriever(store=index, embed_model=encoder, similarity_top_k=10)
        calibration = retriever.calibrate(QUESTIONS, method="standardized")
        assert calibration.modalities["image"].provenance.encoder_fingerprint == "ClipEmbedding:tiny-clip"
        found = retriever.retrieve("a red dog")
        assert {node.metadata["commonscale_modality"] for node in found} == {"text", "image"}
        question = encoder.encode_questions(["a red dog"])[0]
        for node in found:
            if node.metadata["commonscale_modality"] == "image":
                row = encoder.encode_images([node.node.image_path])[0]
                assert node.metadata["commonscale_cosine"] == pytest.approx(float(row @ question), abs=1e-5)
        other = LlamaIndexEncoder(model, fingerprint="another")
        with pytest.raises(EncoderMismatchError, match="another"):
            StandardizedMultiModalRetriever(store=index, embed_model=other)


def test_stores_take_it_like_any_encoder(model: ClipEmbedding, pictures: list[str], tmp_path: Path) -> None:
    encoder = LlamaIndexEncoder(model)
    index_texts, index_images = (_faiss(tmp_path / name) for name in ("texts", "images"))
    add_texts(index_texts, TEXTS, encoder)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.warns(SkippedImageWarning, match="broken"):
        add_images(index_images, [*pictures, str(tmp_path / "broken.png")], encoder)
    retriever = StandardizedMultiModalRetriever(text_store=index_texts, image_store=index_images, embed_model=encoder)
    calibration = retriever.calibrate(QUESTIONS, method="standardized")
    other = LlamaIndexEncoder(model, fingerprint="another")
    empty = _faiss(tmp_path / "empty")
    with pytest.raises(CalibrationMismatchError, match="encoder 'ClipEmbedding:tiny-clip', not 'another'"):
        StandardizedMultiModalRetriever(text_store=empty, embed_model=other, calibration=calibration)


def _faiss(folder: Path) -> Any:
    pytest.importorskip("faiss")
    from commonscale.index import FaissIndex

    return FaissIndex.create(folder, DIMENSION)
