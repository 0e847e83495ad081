"""LangChain's embeddings where an encoder of Commonscale is taken."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")

from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from commonscale.core.errors import EncoderError, EncoderMismatchError, ImageError, InvalidInputError
from commonscale.encoders import CachedEncoder, CallableEncoder, Encoder, load_encoder
from commonscale.langchain import (
    CommonscaleEmbeddings,
    LangChainEncoder,
    StandardizedMultiModalRetriever,
    add_images,
    add_texts,
)
from langchain_clip import ClipEmbeddings
from sources import unit_rows
from tiny_models import DIMENSION, save_tiny_clip

TEXTS = ["a red dog", "the blue cat sleeps", "two dog on grass", "a photo of the cat"]
QUESTIONS = [f"{a} {b} {c}" for a in ("a", "the", "two") for b in ("dog", "cat", "red cat") for c in TEXTS]


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
def embeddings(folder: Path) -> ClipEmbeddings:
    return ClipEmbeddings(folder)


def test_gives_the_models_vectors_with_norm_one(embeddings: ClipEmbeddings, folder: Path, pictures: list[str]) -> None:
    encoder = LangChainEncoder(embeddings)
    assert isinstance(encoder, Encoder)
    ours = load_encoder(str(folder), device="cpu")
    assert encoder.dimension == DIMENSION
    np.testing.assert_allclose(encoder.encode_questions(TEXTS), ours.encode_questions(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), ours.encode_texts(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(pictures), ours.encode_images(pictures), atol=1e-5)
    for method in (encoder.encode_questions, encoder.encode_texts, encoder.encode_images):
        assert method([]).shape == (0, DIMENSION)


def test_questions_go_through_embed_query(folder: Path) -> None:
    encoder = LangChainEncoder(ClipEmbeddings(folder, query_prefix="two dog "))
    assert np.array_equal(encoder.encode_questions(["runs"]), encoder.encode_texts(["two dog runs"]))
    assert not np.array_equal(encoder.encode_questions(["runs"]), encoder.encode_texts(["runs"]))


def test_pictures_come_as_paths_or_through_temporary_files(embeddings: ClipEmbeddings, pictures: list[str]) -> None:
    encoder = LangChainEncoder(embeddings)
    content = Path(pictures[0]).read_bytes()
    with Image.open(pictures[0]) as image:
        image.load()
    jpeg = BytesIO()
    image.save(jpeg, "JPEG")
    given = [pictures[0], Path(pictures[0]), content, BytesIO(content), image, base64.b64encode(content).decode(), jpeg]
    vectors = encoder.encode_images(given)
    np.testing.assert_allclose(vectors[:6], np.repeat(vectors[:1], 6, axis=0), atol=1e-6)
    assert embeddings.given[:2] == [pictures[0]] * 2
    assert [Path(path).suffix for path in embeddings.given] == [".png"] * 6 + [".jpeg"]
    assert not any(Path(path).exists() for path in embeddings.given[2:])


def test_a_bad_picture_is_named_or_reported(embeddings: ClipEmbeddings, pictures: list[str], tmp_path: Path) -> None:
    encoder = LangChainEncoder(embeddings)
    encoder.picture_batch = 4
    (tmp_path / "broken.png").write_bytes(Path(pictures[0]).read_bytes()[:50])
    given: list[Any] = [*pictures[:3], str(tmp_path / "broken.png"), pictures[4], "missing.png", b"junk"]
    with pytest.raises(ImageError, match=r"Image 3, '.*broken\.png': "):
        encoder.encode_images(given)
    batch = encoder.encode_images_reporting(given)
    assert batch.kept == (0, 1, 2, 4)
    assert np.array_equal(batch.vectors, encoder.encode_images([given[place] for place in batch.kept]))
    assert [(failure.index, failure.description) for failure in batch.failures[1:]] == [
        (5, "'missing.png'"),
        (6, "<4 bytes>"),
    ]


class Patchy(ClipEmbeddings):
    """A model that gives some items vectors without a direction."""

    bad: tuple[int, ...] = (3,)

    def _spoiled(self, vectors: list[list[float]]) -> list[list[float]]:
        return [[float("nan")] * len(row) if place in self.bad else row for place, row in enumerate(vectors)]

    def embed_image(self, uris: list[str]) -> list[list[float]]:
        return self._spoiled(super().embed_image(uris))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._spoiled(super().embed_documents(texts))


def test_a_vector_without_direction_is_reported(folder: Path, embeddings: ClipEmbeddings, pictures: list[str]) -> None:
    encoder, whole = LangChainEncoder(Patchy(folder)), LangChainEncoder(embeddings)
    encoder.picture_batch = 4
    assert len(pictures) == 6
    batch = encoder.encode_images_reporting([*pictures, "missing.png"])
    assert batch.kept == (0, 1, 2, 4, 5)
    assert np.array_equal(batch.vectors, whole.encode_images(batch.pick([*pictures, None])))
    assert [failure.index for failure in batch.failures] == [3, 6]
    assert "norm zero, or with NaN" in batch.failures[0].reason
    assert isinstance(batch.failures[0].error, EncoderError)
    with pytest.raises(EncoderError, match=r"Image 3, '.*3\.png': the model gave it a vector of norm zero"):
        encoder.encode_images(pictures)


def test_texts_that_cannot_be_embedded_are_reported(folder: Path, embeddings: ClipEmbeddings) -> None:
    given: list[Any] = [TEXTS[0], 5, TEXTS[1], "\ud800", TEXTS[2], TEXTS[3]]
    batch = LangChainEncoder(Patchy(folder)).encode_texts_reporting(given)
    assert batch.kept == (0, 2, 4)
    assert np.array_equal(batch.vectors, LangChainEncoder(embeddings).encode_texts(TEXTS[:3]))
    assert [(failure.index, failure.description) for failure in batch.failures] == [
        (1, "5"),
        (3, repr("\ud800")),
        (5, repr(TEXTS[3])),
    ]
    assert "needs strings; item 1 is of type int" in batch.failures[0].reason
    assert LangChainEncoder(embeddings).encode_texts_reporting([]).vectors.shape == (0, DIMENSION)


def test_a_model_that_gives_nothing_usable_is_broken(folder: Path, pictures: list[str]) -> None:
    model = Patchy(folder)
    model.bad = tuple(range(6))
    encoder = LangChainEncoder(model)
    encoder.picture_batch = 2
    for encode, items in ((encoder.encode_images_reporting, pictures), (encoder.encode_texts_reporting, TEXTS)):
        with pytest.raises(EncoderError, match=rf"gave {len(items)} vectors and none that can be used: .*NaN"):
            encode(items)  # type: ignore[operator]
    model.bad = ()
    encoder.encode_texts(["a"])
    model.bad = (0,)
    assert encoder.encode_texts_reporting(["a"]).kept == ()


def test_a_temporary_file_that_is_held_open_costs_no_vectors(
    embeddings: ClipEmbeddings, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(*_: object, **__: object) -> None:
        raise PermissionError("The process cannot access the file because it is being used by another process")

    content = Path(pictures[0]).read_bytes()
    with monkeypatch.context() as windows:
        windows.setattr("os.unlink", held)
        vectors = LangChainEncoder(embeddings).encode_images([content])
    assert np.array_equal(vectors, LangChainEncoder(embeddings).encode_images(pictures[:1]))
    (left,) = embeddings.given[:1]
    shutil.rmtree(Path(left).parent)


def test_trouble_of_the_model_is_not_a_pictures(folder: Path, pictures: list[str]) -> None:
    class Down(ClipEmbeddings):
        def embed_image(self, uris: list[str]) -> list[list[float]]:
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        LangChainEncoder(Down(folder)).encode_images_reporting(pictures)


def test_embeddings_without_pictures_embed_texts_only() -> None:
    encoder = LangChainEncoder(DeterministicFakeEmbedding(size=4), fingerprint="fake-4")
    texts = encoder.encode_texts(["a", "b"])
    assert np.linalg.norm(texts, axis=1) == pytest.approx([1.0, 1.0])
    with pytest.raises(
        InvalidInputError, match=r"DeterministicFakeEmbedding reads no images: it has neither embed_images nor"
    ):
        encoder.encode_images(["a.png"])


def test_fingerprints_tell_what_changes_vectors(folder: Path) -> None:
    def of(**settings: Any) -> str:
        return str(LangChainEncoder(ClipEmbeddings(folder, **settings)).fingerprint)

    assert of() == of(device="cuda") == "ClipEmbeddings:tiny-clip"
    assert of(query_prefix="a ").startswith("ClipEmbeddings:tiny-clip:")
    assert len({of(), of(query_prefix="a "), of(query_prefix="the "), of(model_name="other")}) == 4
    assert LangChainEncoder(ClipEmbeddings(folder), fingerprint="mine-2").fingerprint == "mine-2"


class Words(Embeddings):
    """Embeddings of a user's own, no pydantic model, with a method for many questions."""

    def __init__(self, model: str, dimension: int = 4, secret: object = None) -> None:
        self.model = model
        self.dimension = dimension
        self.api_key = secret
        self.asked: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [(3 * self._vector(text)).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(text).tolist()

    def embed_queries(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(texts)
        return [self.embed_query(text) for text in texts]

    def _vector(self, text: str) -> np.ndarray:
        return unit_rows(np.random.default_rng(zlib.crc32(f"{self.model} {text}".encode())), 1, self.dimension)[0]


def test_a_class_of_ones_own() -> None:
    embeddings = Words("words-1")
    encoder = LangChainEncoder(embeddings)
    assert encoder.encode_questions(["a", "b"]).shape == (2, 4)
    assert embeddings.asked == [["a", "b"]]
    fingerprints = [
        LangChainEncoder(Words(*settings)).fingerprint for settings in [("words-1",), ("words-1", 8), ("b",)]
    ]
    assert len(set(fingerprints)) == 3
    assert LangChainEncoder(Words("words-1", secret="key")).fingerprint == fingerprints[0]
    with pytest.raises(InvalidInputError, match=r"DeterministicFakeEmbedding does not say which model .* fingerprint="):
        LangChainEncoder(DeterministicFakeEmbedding(size=4))


def test_an_encoder_is_not_wrapped_twice(embeddings: ClipEmbeddings) -> None:
    own = CallableEncoder(embed_text=lambda texts: [[1.0, len(text)] for text in texts], fingerprint="own")
    assert LangChainEncoder(CommonscaleEmbeddings(own)) is own
    encoder = LangChainEncoder(embeddings)
    again = LangChainEncoder(CommonscaleEmbeddings(encoder))
    assert again is encoder
    assert encoder.embeddings is embeddings
    with pytest.raises(InvalidInputError, match="that has a fingerprint of its own"):
        LangChainEncoder(CommonscaleEmbeddings(own), fingerprint="other")


@pytest.mark.parametrize("given", ["clip", ClipEmbeddings, 3], ids=["name", "class", "number"])
def test_no_embeddings(given: object) -> None:
    with pytest.raises(
        InvalidInputError, match=r"LangChain embeddings are needed, with embed_query and embed_documents; got \w+"
    ):
        LangChainEncoder(given)


def test_looking_at_an_encoder_does_not_embed() -> None:
    class Never(Words):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise EncoderError("embedded")

    encoder = LangChainEncoder(Never("never"))
    CommonscaleEmbeddings(encoder)
    InMemoryVectorStore(CommonscaleEmbeddings(encoder))
    StandardizedMultiModalRetriever(text_store=InMemoryVectorStore(Never("never")), embeddings=encoder)
    CachedEncoder(encoder, "nowhere")


def test_pickles_with_its_embeddings() -> None:
    encoder = LangChainEncoder(Words("words-1"), fingerprint="mine")
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint == "mine"
    assert np.array_equal(again.encode_texts(["a"]), encoder.encode_texts(["a"]))


def test_through_a_cache_an_index_and_a_retriever(
    embeddings: ClipEmbeddings, pictures: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import FaissIndex

    with CachedEncoder(LangChainEncoder(embeddings), tmp_path / "cache") as encoder:
        for attempt in range(2):
            index = FaissIndex.create(tmp_path / str(attempt), DIMENSION, encoder_fingerprint=encoder.fingerprint)
            add_texts(index, TEXTS, encoder)
            add_images(index, pictures, encoder)
            assert len(embeddings.given) == (len(pictures) if attempt == 0 else 0)
            embeddings.given.clear()
        retriever = StandardizedMultiModalRetriever(store=index, embeddings=encoder, k=10)
        calibration = retriever.calibrate(QUESTIONS, method="standardized")
        assert calibration.modalities["image"].provenance.encoder_fingerprint == "ClipEmbeddings:tiny-clip"
        found = retriever.invoke("a red dog")
        assert {document.metadata["commonscale_modality"] for document in found} == {"text", "image"}
        other = CommonscaleEmbeddings(LangChainEncoder(embeddings, fingerprint="another"))
        with pytest.raises(EncoderMismatchError, match="another"):
            StandardizedMultiModalRetriever(store=index, embeddings=other).invoke("a red dog")


@pytest.fixture
def jina(pictures: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A loopback server that answers as Jina's, for LangChain's own client of it; the vectors are invented."""
    module = pytest.importorskip("langchain_community.embeddings.jina")
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body["input"])
            data = [
                {"index": place, "embedding": [float(zlib.crc32(json.dumps(item).encode()) % 97), 1.0]}
                for place, item in enumerate(body["input"])
            ]
            content = json.dumps({"data": data[::-1]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(module, "JINA_API_URL", f"http://127.0.0.1:{httpd.server_port}/")
        yield asked
        httpd.shutdown()
        thread.join()


def test_a_paid_service_is_asked_once(jina: list[Any], pictures: list[str], tmp_path: Path) -> None:
    from langchain_community.embeddings import JinaEmbeddings

    encoder = LangChainEncoder(JinaEmbeddings(jina_api_key="secret", model_name="jina-clip-v1"))
    assert encoder.fingerprint == "JinaEmbeddings:jina-clip-v1"
    with CachedEncoder(encoder, tmp_path / "cache") as cached:
        first = cached.encode_images(pictures)
        content = [base64.b64encode(Path(path).read_bytes()).decode() for path in pictures]
        assert jina == [[{"bytes": each} for each in content]]
        assert np.array_equal(cached.encode_images([Path(path).read_bytes() for path in pictures]), first)
        cached.encode_texts(["a", "b", "a"])
        cached.encode_texts(["b", "a"])
        assert jina[1:] == [["a", "b"]]
    encoder._dimension = None
    bare = encoder.encode_images([Path(path).read_bytes() for path in pictures])
    assert np.array_equal(bare, first)
