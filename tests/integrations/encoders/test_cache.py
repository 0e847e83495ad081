"""An encoder with a cache gives what it gives without one, and embeds everything once."""

from __future__ import annotations

import base64
import io
import pickle
import shutil
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from commonscale.core.errors import (
    CacheWarning,
    EncoderError,
    EncoderUnavailableError,
    FileFormatError,
    ImageError,
    InputRefusedError,
    InvalidInputError,
    TruncationWarning,
)
from commonscale.encoders import (
    CachedEncoder,
    CallableEncoder,
    Encoder,
    EncodingOptions,
    ImageInput,
    ImageOptions,
    Vectors,
)
from commonscale.encoders.cache.store import VectorStore
from sources import unit_rows

DIMENSION = 6


def seeded(name: str) -> np.ndarray:
    return unit_rows(np.random.default_rng(zlib.crc32(name.encode())), 1, DIMENSION)[0]


class Recording:
    """What a model embeds, item by item; a fake model behind the real base of encoders."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.refused: set[str] = set()
        self.down_after: int | None = None

    @property
    def seen(self) -> Counter[str]:
        return Counter(f"{role} {name}" for role, names in self.calls for name in names)

    def embed(self, role: str, items: list[Any]) -> np.ndarray:
        names = [item if isinstance(item, str) else str(zlib.crc32(item.tobytes())) for item in items]
        if self.down_after is not None and len(self.calls) >= self.down_after:
            raise EncoderUnavailableError("no quota left")
        if self.refused & set(names):
            raise InputRefusedError("the service takes none of this")
        self.calls.append((role, names))
        return np.array([seeded(f"{role} {name}") for name in names])


def encoder_of(model: Recording, fingerprint: str = "fake-1", **options: Any) -> CallableEncoder:
    return CallableEncoder(
        embed_question=partial(model.embed, "question"),
        embed_text=partial(model.embed, "text"),
        embed_image=partial(model.embed, "image"),
        fingerprint=fingerprint,
        dimension=DIMENSION,
        options=EncodingOptions(**options),
    )


class Plain:
    """An encoder of a user's own: the protocol and nothing else."""

    dimension = DIMENSION
    fingerprint = "plain"

    def __init__(self, model: Recording) -> None:
        self._inner = encoder_of(model)

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        return self._inner.encode_questions(questions)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return self._inner.encode_texts(texts)

    def encode_images(self, images: Sequence[ImageInput]) -> Vectors:
        return self._inner.encode_images(images)


@pytest.fixture
def model() -> Recording:
    return Recording()


@pytest.fixture
def cached(model: Recording, tmp_path: Path) -> Iterator[CachedEncoder]:
    with CachedEncoder(encoder_of(model), tmp_path / "cache") as encoder:
        yield encoder


def picture(seed: int, size: tuple[int, int] = (12, 9)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


def test_is_an_encoder_and_passes_on_what_the_encoder_has(cached: CachedEncoder, tmp_path: Path) -> None:
    assert isinstance(cached, Encoder)
    assert (cached.dimension, cached.fingerprint, cached.max_tokens) == (DIMENSION, "fake-1", None)
    assert cached.count_tokens(["abc"]) == [3]
    plain = CachedEncoder(Plain(Recording()), tmp_path / "plain")
    for name in ("encode_texts_reporting", "encode_images_reporting", "count_tokens", "max_tokens", "anything"):
        assert not hasattr(plain, name)
    assert (len(cached), bool(cached)) == (0, True)
    assert "CallableEncoder(fingerprint='fake-1')" in repr(cached)


def test_everything_is_embedded_once(cached: CachedEncoder, model: Recording, tmp_path: Path) -> None:
    texts = ["a", "b", "a", "c", "b"]
    bare = encoder_of(Recording())
    assert np.array_equal(cached.encode_texts(texts), bare.encode_texts(texts))
    assert np.array_equal(cached.encode_texts([*texts, "d"]), bare.encode_texts([*texts, "d"]))
    assert np.array_equal(cached.encode_questions(texts), bare.encode_questions(texts))
    assert [sorted(names) for _, names in model.calls] == [["a", "b", "c"], ["d"], ["a", "b", "c"]]
    assert len(cached) == 7
    cached.close()
    again = CachedEncoder(encoder_of(model), tmp_path / "cache")
    assert np.array_equal(again.encode_texts(texts), bare.encode_texts(texts))
    assert set(model.seen.values()) == {1}
    again.close()


def test_another_fingerprint_is_another_encoder(cached: CachedEncoder, model: Recording, tmp_path: Path) -> None:
    cached.encode_texts(["a"])
    other = CachedEncoder(encoder_of(model, "fake-2"), tmp_path / "cache")
    other.encode_texts(["a"])
    assert model.seen == {"text a": 2}
    assert len(other) == len(cached) == 2
    other.clear()
    assert len(cached) == 0
    assert np.array_equal(cached.encode_texts(["a"])[0], seeded("text a").astype(np.float32))
    other.close()


def test_nothing_at_all(cached: CachedEncoder) -> None:
    for method in (cached.encode_questions, cached.encode_texts, cached.encode_images):
        assert method([]).shape == (0, DIMENSION)
    assert cached.encode_texts_reporting([]).vectors.shape == (0, DIMENSION)


def forms(path: Path) -> dict[str, Callable[[], Any]]:
    content = path.read_bytes()
    encoded = base64.b64encode(content).decode()
    return {
        "path": lambda: path,
        "string": lambda: str(path),
        "copy": lambda: shutil.copy(path, path.with_name("copy.png")),
        "bytes": lambda: content,
        "bytearray": lambda: bytearray(content),
        "memoryview": lambda: memoryview(content),
        "base64": lambda: encoded,
        "data": lambda: f"data:image/png;base64,{encoded}",
        "file": lambda: io.BytesIO(content),
        "once": lambda: Once(content),
    }


class Once:
    """A stream that cannot go back."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        content, self._content = self._content, b""
        return content


def test_a_picture_is_one_entry_whatever_its_form(cached: CachedEncoder, model: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1))
    made = forms(path)
    first = cached.encode_images([path])
    for form, make in made.items():
        assert np.array_equal(cached.encode_images([make()]), first), form
    assert len(cached) == len(model.calls) == 1
    fresh = CachedEncoder(encoder_of(model), tmp_path / "fresh")
    assert np.array_equal(fresh.encode_images([make() for make in made.values()]), np.repeat(first, len(made), axis=0))
    assert [len(names) for _, names in model.calls] == [1, 1]
    fresh.close()


def test_a_file_that_was_changed_is_another(cached: CachedEncoder, model: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1))
    one = cached.encode_images([path])
    path.write_bytes(png(2))
    two = cached.encode_images([path])
    assert not np.array_equal(one, two)
    assert np.array_equal(cached.encode_images([png(1), png(2)]), np.concatenate([one, two]))
    assert len(model.calls) == 2


def test_a_file_that_changes_while_it_is_embedded_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1))

    def embed(images: list[Any]) -> list[Any]:
        path.write_bytes(png(2) + b"more")
        return [[1.0, 2.0] for _ in images]

    encoder = CallableEncoder(embed_image=embed, fingerprint="changing", dimension=2)
    with CachedEncoder(encoder, tmp_path / "cache") as cached:
        cached.encode_images([path])
        assert len(cached) == 0


def test_pil_images_are_told_apart_by_all_that_decides_their_pixels(cached: CachedEncoder, model: Recording) -> None:
    image = picture(3)
    turned = image.copy()
    turned.getexif()[0x0112] = 6
    paletted = image.quantize(8)
    clear = paletted.copy()
    clear.info["transparency"] = 0
    recolored = paletted.copy()
    recolored.putpalette(list(range(24)))
    images = [image, turned, image.convert("L"), paletted, clear, recolored, image.transpose(Image.Transpose.ROTATE_90)]
    images.append(Image.frombytes("RGB", (9, 12), image.tobytes()))
    bare = encoder_of(Recording())
    for _ in range(2):
        assert np.array_equal(cached.encode_images(images), bare.encode_images(images))
    assert len(cached) == sum(len(names) for _, names in model.calls) == len(images)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = png(int(self.path.strip("/").partition("?")[0] or 0))
            self.send_response(404 if self.path == "/404" else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()
        thread.join()


def test_a_url_is_known_by_its_content(server: tuple[str, list[str]], model: Recording, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    base, asked = server
    options = ImageOptions(allow_urls=True, allow_private_addresses=True)
    with CachedEncoder(encoder_of(model, images=options), tmp_path / "cache") as cached:
        first = cached.encode_images([f"{base}/1"])
        assert np.array_equal(cached.encode_images([f"{base}/1?another=name", png(1)]), np.repeat(first, 2, axis=0))
        # Downloaded once per call, since only the content tells, and never again by the encoder.
        assert asked == ["/1", "/1?another=name"]
        assert len(model.calls) == 1
        with pytest.raises(ImageError, match=rf"Image 1, '{base}/404': .*answered 404"):
            cached.encode_images([f"{base}/1", f"{base}/404"])
        assert asked.count("/404") == 1


def test_urls_that_are_not_allowed_are_refused_as_without_a_cache(cached: CachedEncoder) -> None:
    with pytest.raises(ImageError, match=r"^Image 'http://127.0.0.1/a.png': URLs are not opened unless allowed"):
        cached.encode_images(["http://127.0.0.1/a.png"])


def test_wrong_input_is_refused_as_without_a_cache(cached: CachedEncoder) -> None:
    with pytest.raises(InvalidInputError, match=r"encode_texts\(\) needs a list of strings, got one: 'abc'"):
        cached.encode_texts("abc")
    with pytest.raises(InvalidInputError, match=r"encode_questions\(\) needs strings; item 1 is of type int"):
        cached.encode_questions(["a", 1])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="item 0 is no valid Unicode"):
        cached.encode_texts(["\ud800"])
    with pytest.raises(InvalidInputError, match="needs a list of pictures, got one"):
        cached.encode_images(b"abc")  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="Image 1, <3 bytes>"):
        cached.encode_images([png(1), b"abc"])


def test_what_was_good_in_a_failing_call_is_kept(cached: CachedEncoder, model: Recording, tmp_path: Path) -> None:
    model.refused = {"bad"}
    with pytest.raises(InputRefusedError, match=r"^Text 1, 'bad': the service takes none of this$"):
        cached.encode_texts(["a", "bad", "b", "c"])
    model.refused = set()
    model.calls.clear()
    cached.encode_texts(["a", "b", "c"])
    assert model.calls == []
    broken = tmp_path / "broken.png"
    broken.write_bytes(png(1)[:60])
    with pytest.raises(ImageError, match=r"Image 1, .*broken\.png.*: "):
        cached.encode_images([png(5), broken, png(6)])
    model.calls.clear()
    cached.encode_images([png(6), png(5)])
    assert model.calls == []


def test_a_service_that_goes_down_costs_a_chunk_at_most(model: Recording, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(100)]
    with CachedEncoder(encoder_of(model, batch_size=5), tmp_path, chunk_size=10) as cached:
        model.down_after = 7
        with pytest.raises(EncoderUnavailableError, match="no quota left"):
            cached.encode_texts(texts)
        assert len(cached) == 30
        model.down_after = None
        cached.encode_texts(texts)
        assert sum(model.seen.values()) == 105


def test_reports_name_the_items_that_were_given(cached: CachedEncoder, model: Recording) -> None:
    model.refused = {"bad"}
    given: list[Any] = ["a", "bad", "b", 3, "bad", "a"]
    batch = cached.encode_texts_reporting(given)
    bare = encoder_of(other := Recording())
    other.refused = {"bad"}
    expected = bare.encode_texts_reporting(given)
    assert batch.kept == expected.kept == (0, 2, 5)
    assert np.array_equal(batch.vectors, expected.vectors)
    told = [(f.index, f.description, f.reason, type(f.error)) for f in batch.failures]
    assert told == [(f.index, f.description, f.reason, type(f.error)) for f in expected.failures]
    images: list[Any] = [png(1), b"junk", png(1), "missing.png", b"junk", picture(2)]
    for _ in range(2):
        batch = cached.encode_images_reporting(images)
        expected = bare.encode_images_reporting(images)
        assert batch.kept == expected.kept == (0, 2, 5)
        assert np.array_equal(batch.vectors, expected.vectors)
        assert [(f.index, f.description, f.reason) for f in batch.failures] == [
            (f.index, f.description, f.reason) for f in expected.failures
        ]


def test_a_vector_without_direction_is_named(tmp_path: Path) -> None:
    def embed(texts: list[str]) -> np.ndarray:
        return np.array([seeded(text) * (text != "bad") for text in texts])

    encoder = CallableEncoder(embed_text=embed, fingerprint="zeros", dimension=DIMENSION)
    with CachedEncoder(encoder, tmp_path, chunk_size=2) as cached:
        with pytest.raises(EncoderError, match="Text 3, 'bad': the model gave it a vector of norm zero"):
            cached.encode_texts(["a", "b", "c", "bad"])
        assert len(cached) == 3


def test_failures_are_not_remembered(cached: CachedEncoder, model: Recording) -> None:
    model.refused = {"bad"}
    assert cached.encode_texts_reporting(["bad"]).kept == ()
    model.refused = set()
    assert cached.encode_texts_reporting(["bad"]).kept == (0,)


def test_an_encoder_with_the_protocol_alone(model: Recording, tmp_path: Path) -> None:
    with CachedEncoder(Plain(model), tmp_path, chunk_size=2) as cached:
        for _ in range(2):
            cached.encode_texts(["a", "b", "c"])
            cached.encode_images([png(1), png(1)])
        assert [len(names) for _, names in model.calls] == [2, 1, 1]
        model.refused = {"bad"}
        with pytest.raises(InputRefusedError):
            cached.encode_texts(["d", "e", "bad"])
        assert len(cached) == 6


def broken_encoder(vectors: Any) -> Any:
    encoder = Plain(Recording())
    encoder.encode_texts = lambda _: np.asarray(vectors)  # type: ignore[method-assign]
    return encoder


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0] * DIMENSION], r"shape \(1, 6\) for 2 texts; \(2, dimension\) is needed"),
        ([1.0, 2.0], r"shape \(2,\) for 2 texts"),
        ([[1.0] * DIMENSION, [np.nan] * DIMENSION], "NaN or infinity"),
    ],
    ids=["too few", "no matrix", "not finite"],
)
def test_vectors_that_cannot_be_used_are_not_kept(tmp_path: Path, vectors: Any, message: str) -> None:
    with CachedEncoder(broken_encoder(vectors), tmp_path) as cached:
        with pytest.raises(EncoderError, match=message):
            cached.encode_texts(["a", "b"])
        assert len(cached) == 0


def test_two_models_with_one_fingerprint_are_found_out(cached: CachedEncoder, tmp_path: Path) -> None:
    cached.encode_texts(["a"])
    longer = CallableEncoder(embed_text=lambda texts: np.ones((len(texts), 9)), fingerprint="fake-1")
    with CachedEncoder(longer, tmp_path / "cache") as other:
        assert other.encode_texts(["a"]).shape == (1, DIMENSION)
        with pytest.raises(EncoderError, match=r"\(1, 9\) for 1 texts; \(1, 6\) is needed.*fingerprint of its own"):
            other.encode_texts(["b"])
        with pytest.raises(EncoderError, match="fingerprint of its own"):
            other.encode_texts(["a", "b"])


def test_stored_vectors_of_another_length_are_refused(cached: CachedEncoder) -> None:
    cached.encode_texts(["a"])
    store = cached._store
    with store._open() as connection:
        connection.execute("UPDATE encoder SET dimension = 5")
    with pytest.raises(FileFormatError, match=r"holds a vector of 6 numbers .* have 5: the file is damaged, or two"):
        cached.encode_texts(["a"])


def test_vectors_that_cannot_be_kept_are_given_nevertheless(
    cached: CachedEncoder, model: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise EncoderError("vectors.sqlite3: the cache cannot be used now (database or disk is full)")

    monkeypatch.setattr(cached._store, "put", full)
    with pytest.warns(CacheWarning, match="2 new vectors were not kept: .*disk is full"):
        found = cached.encode_texts(["a", "b"])
    assert np.array_equal(found[0], seeded("text a").astype(np.float32))


def read_only(store: VectorStore) -> None:
    with store._open() as connection:
        connection.execute("PRAGMA query_only = ON")


def test_a_cache_that_becomes_read_only_costs_no_vectors(model: Recording, tmp_path: Path) -> None:
    cached = CachedEncoder(encoder_of(model), tmp_path, chunk_size=2)
    cached.encode_texts(["z"])
    read_only(cached._store)
    with pytest.warns(CacheWarning, match="2 new vectors were not kept: .*readonly") as caught:
        found = cached.encode_texts(["z", "a", "b", "c", "d"])
    assert [warning.filename for warning in caught] == [__file__] * 2
    assert np.array_equal(found, encoder_of(Recording()).encode_texts(["z", "a", "b", "c", "d"]))
    assert len(cached) == 1
    with pytest.warns(CacheWarning, match="which vectors were used last was not noted: .*readonly"):
        cached.close()
    cached.encode_texts(["a"])
    assert len(cached) == 2
    cached.close()


def test_a_file_that_breaks_after_vectors_could_not_be_kept(
    cached: CachedEncoder, model: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonscale.encoders.cache.run._LOOKED_UP", 2)
    cached.chunk_size = 2
    embed = cached.encoder.encode_texts_reporting

    def breaking(texts: list[str]) -> Any:
        store = cached._store
        store.close()
        for path in store.path.parent.iterdir():
            path.write_bytes(b"no database" * 1000)
        return embed(texts)

    monkeypatch.setattr(cached.encoder, "encode_texts_reporting", breaking)
    with pytest.warns(CacheWarning) as caught:
        found = cached.encode_texts(["a", "b", "c", "d"])
    said = [str(warning.message) for warning in caught]
    assert said[0].startswith("2 new vectors were not kept: ")
    assert said[1].startswith("the cache could not be asked for 2 items: ")
    assert np.array_equal(found, encoder_of(Recording()).encode_texts(["a", "b", "c", "d"]))
    with pytest.raises(FileFormatError, match="cannot be used as a cache"):
        cached.encode_texts(["a"])


def test_one_bar_and_one_warning_for_a_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = CallableEncoder(
        embed_text=lambda texts: np.ones((len(texts), 2)),
        embed_image=lambda images: np.ones((len(images), 2)),
        fingerprint="short",
        max_tokens=3,
        options=EncodingOptions(progress=True),
    )
    cached = CachedEncoder(encoder, tmp_path, chunk_size=2)
    cached.encode_texts(["old"])
    capsys.readouterr()
    with pytest.warns(TruncationWarning) as caught:
        cached.encode_texts_reporting(["abcd", "a", "b", "old", "abcdefg", "a", "c", 5])  # type: ignore[list-item]
    assert [str(warning.message)[:64] for warning in caught] == [
        "2 of 5 texts are longer than the 3 characters that this encoder "
    ]
    assert "the longest has 7" in str(caught[0].message)
    assert caught[0].filename == __file__
    bar = capsys.readouterr().err
    assert bar.count("0/8") == 1
    assert "8/8" in bar
    cached.encode_images_reporting([png(1), b"junk", png(2), png(1), png(3)])
    bar = capsys.readouterr().err
    assert bar.count("0/5") == 1
    assert "5/5" in bar
    cached.close()


def test_a_failing_call_warns_of_the_texts_that_are_remembered(tmp_path: Path) -> None:
    def embed(texts: list[str]) -> np.ndarray:
        if "bad" in texts:
            raise EncoderUnavailableError("down")
        return np.ones((len(texts), 2))

    encoder = CallableEncoder(embed_text=embed, fingerprint="short", max_tokens=3)
    with CachedEncoder(encoder, tmp_path, chunk_size=1) as cached:
        with pytest.warns(TruncationWarning, match="1 of 2 texts"), pytest.raises(EncoderUnavailableError):
            cached.encode_texts(["abcd", "bad"])
        assert len(cached) == 1


def test_the_dimension_is_remembered(cached: CachedEncoder, tmp_path: Path) -> None:
    cached.encode_texts(["a"])

    def down(_: list[str]) -> list[list[float]]:
        raise EncoderUnavailableError("down")

    asleep = CallableEncoder(embed_text=down, embed_question=down, fingerprint="fake-1")
    with CachedEncoder(asleep, tmp_path / "cache") as offline:
        assert offline.dimension == DIMENSION
        assert offline.encode_texts(["a"]).shape == (1, DIMENSION)


def test_a_pickled_copy_shares_the_cache(cached: CachedEncoder) -> None:
    plain = CachedEncoder(Constant(), cached._store.path.parent)
    plain.encode_texts(["a", "b"])
    copy = pickle.loads(pickle.dumps(plain))
    assert len(copy) == 2
    assert np.array_equal(copy.encode_texts(["b"]), plain.encode_texts(["b"]))
    for each in (copy, plain):
        each.close()


class Constant:
    dimension = 2
    fingerprint = "constant"

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return np.tile(np.float32([0.6, 0.8]), (len(texts), 1))

    encode_questions = encode_images = encode_texts


def test_no_encoder() -> None:
    with pytest.raises(InvalidInputError, match="dict is no encoder: it lacks encode_questions, encode_texts"):
        CachedEncoder({}, "folder")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="chunk_size must be a whole number of at least 1, got 0"):
        CachedEncoder(Constant(), "folder", chunk_size=0)


def test_threads_share_an_encoder(model: Recording, tmp_path: Path) -> None:
    bare = encoder_of(Recording())
    wrong: list[int] = []
    with CachedEncoder(encoder_of(model), tmp_path, chunk_size=7) as cached:

        def work(number: int) -> None:
            texts = [f"text {n}" for n in range(number, number + 60)]
            if not np.array_equal(cached.encode_texts(texts), bare.encode_texts(texts)):
                wrong.append(number)

        threads = [threading.Thread(target=work, args=(20 * number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (wrong, len(cached)) == ([], 160)


def in_threads(*functions: Callable[[], Any]) -> list[Any]:
    """Run functions at once, and give what each returned or raised."""
    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(function) for function in functions]
        return [future.exception(timeout=60) or future.result() for future in futures]


def test_threads_pay_for_each_item_once(model: Recording, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(200)]
    bare = encoder_of(Recording())
    begun = threading.Barrier(4)
    with CachedEncoder(encoder_of(model), tmp_path, chunk_size=30) as cached:

        def work(shift: int) -> bool:
            mine = texts[shift:] + texts[:shift]
            begun.wait(30)
            return np.array_equal(cached.encode_texts(mine), bare.encode_texts(mine))

        # In other orders, so that each needs what another one has begun.
        assert in_threads(*(partial(work, shift) for shift in (0, 50, 100, 150))) == [True] * 4
    assert set(model.seen.values()) == {1}
    assert len(model.seen) == 200


def test_what_another_thread_fails_at_is_tried_again(tmp_path: Path) -> None:
    asked: list[list[str]] = []
    first, second = threading.Event(), threading.Event()

    def embed(texts: list[str]) -> np.ndarray:
        asked.append(sorted(texts))
        if "fails" in texts and len(asked) == 1:
            first.set()
            second.wait(30)
            raise EncoderUnavailableError("down")
        second.set()
        return np.ones((len(texts), 2))

    with CachedEncoder(CallableEncoder(embed_text=embed, fingerprint="x"), tmp_path) as cached:

        def later() -> Any:
            first.wait(30)
            return cached.encode_texts(["shared", "own"]).shape

        failed, fine = in_threads(lambda: cached.encode_texts(["fails", "shared"]), later)
    assert isinstance(failed, EncoderUnavailableError)
    assert fine == (2, 2)
    assert asked == [["fails", "shared"], ["own"], ["shared"]]


ITEMS = {
    "encode_questions": st.sampled_from(["", "a", "b", "ä", "a\0b", "x" * 2000]),
    "encode_texts": st.sampled_from(["", "a", "b", "ä", "a\0b", "x" * 2000]),
    "encode_images": st.sampled_from(["png 1", "png 2", "pil 1", "pil 3"]),
}


def as_given(name: str) -> Any:
    kind, _, seed = name.partition(" ")
    return {"png": png, "pil": picture}[kind](int(seed)) if kind in ("png", "pil") else name


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(
        st.one_of(*(st.tuples(st.just(method), st.lists(items, max_size=9)) for method, items in ITEMS.items())),
        max_size=8,
    ),
    chunk_size=st.integers(1, 5),
    reopen=st.booleans(),
    looked_up=st.integers(1, 4),
    noted=st.integers(1, 5),
)
def test_any_sequence_of_calls_gives_what_it_gives_without_a_cache(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[str, list[str]]],
    chunk_size: int,
    reopen: bool,
    looked_up: int,
    noted: int,
) -> None:
    model = Recording()
    bare = encoder_of(Recording())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("commonscale.encoders.cache.run._LOOKED_UP", looked_up)
        patch.setattr("commonscale.encoders.cache.run._HELD", 1)
        patch.setattr("commonscale.encoders.cache.store._NOTED", noted)
        patch.setattr("commonscale.encoders.cache.store._KEYS", 2)
        folder = tmp_path_factory.mktemp("cache")
        with CachedEncoder(encoder_of(model), folder, chunk_size=chunk_size) as cached:
            for method, names in calls:
                items = [as_given(name) for name in names]
                assert np.array_equal(getattr(cached, method)(items), getattr(bare, method)(items))
                if reopen:
                    cached.close()
            assert len(cached) == len({(method, name) for method, names in calls for name in names})
    # Texts once per role; a picture as a file and as an image are two entries with equal pixels.
    assert all(count == 1 for name, count in model.seen.items() if not name.startswith("image"))
    assert all(count <= 2 for count in model.seen.values())
