"""Cohere's Embed models through the official SDK, against a loopback server that follows Cohere's documentation."""

from __future__ import annotations

import base64
import email.utils
import errno
import io
import os
import pickle
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cohere
import numpy as np
import pytest
from PIL import Image

from commonscale.core.errors import (
    EncoderError,
    EncoderUnavailableError,
    InputRefusedError,
    InvalidInputError,
    MissingExtraError,
    TruncationWarning,
)
from commonscale.encoders import load_encoder
from commonscale.encoders.families import family_named
from embed_fake.rules import KEY, PASSAGE, QUESTION, REFUSED, REFUSED_COLOR, image_rows, text_rows
from embed_fake.server import Answer, EmbedServer, FakeTime, serve_embeddings

V3, V4 = "embed-english-v3.0", "embed-v4.0"
Make = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[EmbedServer]:
    with serve_embeddings() as running:
        yield running


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def make(server: EmbedServer, clock: FakeTime, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Load an encoder that asks the server and sleeps by the fake clock."""
    for name in ("CO_API_KEY", "COHERE_API_KEY", "CO_API_URL"):
        monkeypatch.delenv(name, raising=False)

    def load(name: str = V3, **settings: Any) -> Any:
        encoder = load_encoder(name, **{"api_key": KEY, "base_url": server.url, **settings})
        clock.govern(encoder)
        return encoder

    return load


def picture(color: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, color)


def file_of(image: Image.Image, form: str, **settings: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **settings)
    return stream.getvalue()


def test_questions_and_passages_have_their_input_types(make: Make, server: EmbedServer) -> None:
    encoder = make()
    np.testing.assert_allclose(encoder.encode_questions(["a dog"]), text_rows(["a dog"], QUESTION), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(["a dog"]), text_rows(["a dog"]), atol=1e-6)
    question, passage = server.calls
    assert question.path == "/v2/embed"
    assert question.headers["authorization"] == f"Bearer {KEY}"
    assert question.body == {
        "model": V3,
        "input_type": "search_query",
        "texts": ["a dog"],
        "embedding_types": ["float"],
        "truncate": "END",
    }
    assert passage.body["input_type"] == "search_document"


def test_rows_are_float32_units_in_the_order_given(make: Make, server: EmbedServer) -> None:
    texts = [f"text {'x' * (i * 7 % 23)} {i}" for i in range(40)]
    rows = make(batch_size=4).encode_texts(texts)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(rows, text_rows(texts), atol=1e-6)
    assert sorted(map(len, server.texts)) == [4] * 10


def test_no_request_holds_more_than_96_texts(make: Make, server: EmbedServer) -> None:
    make(V4, batch_size=1000, output_dimension=256).encode_texts([str(i) for i in range(200)])
    assert sorted(map(len, server.texts)) == [8, 96, 96]


def test_several_requests_are_in_flight_at_once_and_no_more(make: Make, server: EmbedServer) -> None:
    server.meet = threading.Barrier(3)  # nobody is answered before three have come
    texts = [str(i) for i in range(12)]
    np.testing.assert_allclose(make(batch_size=2, concurrency=3).encode_texts(texts), text_rows(texts), atol=1e-6)
    assert server.most_at_once == 3


def test_nothing_is_asked_for_nothing(make: Make, server: EmbedServer) -> None:
    assert make().encode_texts([]).shape == (0, 1024)
    assert make(V4, output_dimension=256).encode_images([]).shape == (0, 256)
    assert server.calls == []


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("embed-english-v3.0", 1024),
        ("embed-multilingual-v3.0", 1024),
        ("embed-english-light-v3.0", 384),
        ("embed-multilingual-light-v3.0", 384),
        ("embed-v4.0", 1536),
        ("embed-v5.0-pro", 2048),
        ("embed-v5.0-fast", 2048),
    ],
)
def test_each_model_gives_vectors_of_its_length(make: Make, name: str, dimension: int) -> None:
    encoder = make(name)
    assert encoder.dimension == dimension
    rows = np.concatenate([encoder.encode_texts(["a"]), encoder.encode_images([picture((9, 9, 9))])])
    assert rows.shape == (2, dimension)


def test_embed_4_is_asked_for_a_length_and_a_limit(make: Make, server: EmbedServer) -> None:
    encoder = make(V4, output_dimension=512, truncate="start", max_tokens=300)
    np.testing.assert_allclose(encoder.encode_texts(["a"]), text_rows(["a"], dimension=512), atol=1e-6)
    body = server.calls[0].body
    assert (body["output_dimension"], body["truncate"], body["max_tokens"]) == (512, "START", 300)


def test_embed_3_takes_one_picture_a_request(make: Make, server: EmbedServer) -> None:
    pictures = [picture((10 * i, 7, 200)) for i in range(5)]
    rows = make().encode_images(pictures)
    np.testing.assert_allclose(rows, image_rows(pictures), atol=1e-6)
    assert [set(call.body) for call in server.calls] == [{"model", "input_type", "images", "embedding_types"}] * 5
    assert {call.body["input_type"] for call in server.calls} == {"image"}


def test_embed_4_takes_pictures_as_contents(make: Make, server: EmbedServer) -> None:
    pictures = [picture((10 * i, 7, 200)) for i in range(5)]
    rows = make(V4).encode_images(pictures)
    np.testing.assert_allclose(rows, image_rows(pictures, PASSAGE, 1536), atol=1e-6)
    (call,) = server.calls
    assert call.body["input_type"] == "search_document"
    assert len(call.body["inputs"]) == 5
    assert "images" not in call.body


def test_pictures_of_one_request_stay_within_its_size(make: Make, server: EmbedServer) -> None:
    pictures = [picture((10 * i, 7, 200)) for i in range(5)]
    encoder = make(V4)
    length = len(encoder._read_whole(pictures[0]))
    encoder.limits = replace(encoder.limits, request_bytes=2 * length + 20)
    rows = encoder.encode_images(pictures)
    np.testing.assert_allclose(rows, image_rows(pictures, PASSAGE, 1536), atol=1e-6)
    assert [len(call.pictures) for call in server.calls] == [2, 2, 1]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_file_that_the_service_takes_is_sent_as_it_is(
    make: Make, server: EmbedServer, tmp_path: Path, form: str
) -> None:
    content = file_of(picture((200, 30, 60)), form)
    path = tmp_path / "picture"
    path.write_bytes(content)
    make().encode_images([path, content, "data:;base64," + base64.b64encode(content).decode()])
    assert [call.files for call in server.calls] == [[content]] * 3


def test_a_file_over_the_limit_arrives_smaller(make: Make, server: EmbedServer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1350, 1400, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    content = file_of(image, "PNG", compress_level=0)
    assert len(content) > 5_000_000
    make().encode_images([content])
    (call,) = server.calls
    (arrived,) = call.pictures
    assert len(call.files[0]) <= 5_000_000
    assert (arrived.format, arrived.size) == ("JPEG", image.size)
    assert np.abs(np.asarray(arrived).astype(int) - noise).mean() < 4


def test_bad_and_refused_pictures_are_reported(make: Make, server: EmbedServer) -> None:
    pictures = [picture((50, 0, 0)), b"no picture", picture(REFUSED_COLOR), picture((0, 50, 0))]
    batch = make().encode_images_reporting(pictures)
    assert batch.kept == (0, 3)
    assert [failure.index for failure in batch.failures] == [1, 2]
    assert "the image was refused" in batch.failures[1].reason
    np.testing.assert_allclose(batch.vectors, image_rows([picture((50, 0, 0)), picture((0, 50, 0))]), atol=1e-6)


def test_a_refused_text_is_found_and_left_out(make: Make, server: EmbedServer) -> None:
    texts = [f"text {i}" for i in range(20)]
    texts[13] = f"{REFUSED} 13"
    batch = make(concurrency=1).encode_texts_reporting(texts)
    kept = [i for i in range(20) if i != 13]
    assert list(batch.kept) == kept
    np.testing.assert_allclose(batch.vectors, text_rows([texts[i] for i in kept]), atol=1e-6)
    (failure,) = batch.failures
    assert failure.index == 13
    assert isinstance(failure.error, InputRefusedError)
    assert "HTTP 400: the text was refused" in failure.reason


def test_a_refused_text_stops_a_strict_run(make: Make) -> None:
    with pytest.raises(InputRefusedError, match="Cohere refuses what was sent: HTTP 400: the text was refused"):
        make().encode_texts(["fine", REFUSED])


def test_texts_that_are_too_long_can_be_refused(make: Make) -> None:
    batch = make(truncate="none").encode_texts_reporting(["a", "b " * 600, "c"])
    assert batch.kept == (0, 2)
    assert "too many tokens" in batch.failures[0].reason


def test_a_service_that_refuses_everything_is_not_asked_for_each_text(make: Make, server: EmbedServer) -> None:
    server.always = Answer(400, {"message": "this model is retired"})
    with pytest.raises(EncoderUnavailableError, match=r"the model or a setting is wrong.*this model is retired"):
        make(concurrency=1).encode_texts_reporting([str(i) for i in range(100)])
    assert len(server.calls) == 2


def test_retry_after_in_seconds_is_waited(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.script.extend([Answer(429, {"message": "slow down"}, {"Retry-After": "17"}), None])
    np.testing.assert_allclose(make().encode_texts(["a"]), text_rows(["a"]), atol=1e-6)
    assert clock.slept == [17.0]


def test_retry_after_as_a_date_is_waited(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    server.script.extend([Answer(503, {"message": "in a moment"}, {"Retry-After": date}), None])
    make().encode_texts(["a"])
    assert len(clock.slept) == 1
    assert 60 < clock.slept[0] <= 100


def test_pauses_double_where_the_service_names_none(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.script.extend([Answer(status, {"message": "no"}) for status in (500, 502, 504, 429)])
    make().encode_texts(["a"])
    assert [int(pause / 2**i) for i, pause in enumerate(clock.slept)] == [1, 1, 1, 1]


def test_the_default_outlasts_a_quota_by_the_minute(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.always = Answer(429, {"message": "slow down"})
    with pytest.raises(EncoderUnavailableError):
        make().encode_texts(["a"])
    assert sum(clock.slept) > 60


def test_retries_end_with_one_clear_error(make: Make, server: EmbedServer) -> None:
    server.always = Answer(429, {"message": "trial key"})
    message = r"Cohere failed in all of 3 attempts, lastly so: HTTP 429: trial key\. Set inputs_per_minute"
    with pytest.raises(EncoderUnavailableError, match=message):
        make(max_retries=2).encode_texts(["a"])
    assert len(server.calls) == 3
    server.always = Answer(503, b"<html>busy</html>")
    with pytest.raises(EncoderUnavailableError, match="in the only attempt, lastly so: HTTP 503: <html>busy"):
        make(max_retries=0).encode_texts(["a"])
    assert len(server.calls) == 4


def test_nobody_waits_an_hour(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.always = Answer(429, {"message": "used up"}, {"Retry-After": "3600"})
    with pytest.raises(EncoderUnavailableError, match=r"HTTP 429: used up\. It asks to be left alone for 3600 s"):
        make().encode_texts(["a"])
    assert (len(server.calls), clock.slept) == (1, [])


@pytest.mark.parametrize("status", [401, 402, 403, 404, 501])
def test_what_retries_cannot_help_fails_at_once(make: Make, server: EmbedServer, status: int) -> None:
    server.always = Answer(status, {"message": "not so"})
    with pytest.raises(EncoderUnavailableError, match=f"Cohere cannot be used: HTTP {status}: not so"):
        make().encode_texts_reporting(["a", "b"])
    assert len(server.calls) == 1


def test_an_answer_that_is_late_is_asked_for_again(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.script.append(Answer(hang=True))
    np.testing.assert_allclose(make(timeout=0.2).encode_texts(["a"]), text_rows(["a"]), atol=1e-6)
    assert len(clock.slept) == 1


def test_a_service_that_never_answers_is_given_up(make: Make, server: EmbedServer) -> None:
    server.always = Answer(hang=True)
    with pytest.raises(EncoderUnavailableError, match=r"ReadTimeout.*raise timeout \(now 0\.05 s\)"):
        make(timeout=0.05, max_retries=1).encode_texts(["a"])


def test_no_connection(make: Make, clock: FakeTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EncoderUnavailableError, match=r"in all of 2 attempts, lastly so: ConnectError.*connection"):
        make(base_url=f"http://127.0.0.1:{port}", max_retries=1).encode_texts(["a"])
    assert len(clock.slept) == 1


def test_an_address_that_is_none(make: Make, clock: FakeTime) -> None:
    with pytest.raises(EncoderUnavailableError, match="Check base_url"):
        make(base_url="nowhere").encode_texts(["a"])
    assert clock.slept == []


def cut(body: dict[str, Any]) -> dict[str, Any]:
    rows = body["embeddings"]["float"]
    return {**body, "embeddings": {"float": [row[:-1] for row in rows]}}


def ragged(body: dict[str, Any]) -> dict[str, Any]:
    first, *others = body["embeddings"]["float"]
    return {**body, "embeddings": {"float": [first[:-1], *others]}}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200, b"<html>welcome</html>"), "HTTP 200: <html>welcome</html> is not what was asked for"),
        (Answer(200, {"id": "1"}), "vectors of shape \\(0,\\) where \\(2, 1024\\) was needed"),
        (Answer(200, {"id": "1", "embeddings": {"int8": [[1]]}}), "shape \\(0,\\)"),
        (Answer(200, {"id": "1", "embeddings": {"float": [["x"], ["y"]]}}), "cannot be read"),
        (Answer(edit=lambda body: {**body, "embeddings": {"float": body["embeddings"]["float"][:1]}}), "\\(1, 1024\\)"),
        (Answer(edit=cut), "\\(2, 1023\\)"),
        (Answer(edit=ragged), "cannot be read"),
    ],
)
def test_answers_that_cannot_be_used(make: Make, server: EmbedServer, answer: Answer, words: str) -> None:
    server.always = answer
    with pytest.raises(EncoderError, match=words) as caught:
        make().encode_texts_reporting(["a", "b"])
    assert type(caught.value) is EncoderError
    assert len(server.calls) == 1


def test_the_key_is_never_shown(make: Make, server: EmbedServer) -> None:
    encoder = make()
    server.always = Answer(401, {"message": f"invalid api token {KEY}"})
    with pytest.raises(EncoderUnavailableError, match=r"invalid api token \[key\]\. Set CO_API_KEY") as caught:
        encoder.encode_texts(["a"])
    server.always = Answer(500, {"message": f"token {KEY}"})
    with pytest.raises(EncoderUnavailableError, match=r"token \[key\]") as again:
        encoder.encode_texts(["a"])
    text = "".join("".join(traceback.format_exception(error.value)) for error in (caught, again))
    assert KEY not in text + repr(encoder) + repr(encoder.calls) + encoder.fingerprint


def test_the_key_comes_from_the_environment(make: Make, server: EmbedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncoderUnavailableError, match=r"there is no API key. Set CO_API_KEY"):
        make(api_key=None)
    monkeypatch.setenv("COHERE_API_KEY", f"{KEY}\n")
    make(api_key=None).encode_texts(["a"])
    monkeypatch.setenv("CO_API_KEY", "first")
    with pytest.raises(EncoderUnavailableError, match="HTTP 401"):
        make(api_key=None).encode_texts(["a"])
    assert [call.headers["authorization"] for call in server.calls] == [f"Bearer {KEY}", "Bearer first"]


@pytest.mark.parametrize("key", ["", "a b", "schlüssel", "line\nbreak"])
def test_a_key_that_cannot_be_sent(make: Make, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_KEY", "  ")
    with pytest.raises(InvalidInputError, match="The API key is empty, or has characters that no key has") as caught:
        make(api_key=key)
    assert not key or key not in str(caught.value)


def test_the_address_comes_from_the_environment(
    make: Make, server: EmbedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CO_API_URL", server.url)
    make(base_url=None).encode_texts(["a"])
    assert len(server.calls) == 1


def test_a_client_of_the_caller(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.script.append(Answer(503, {"message": "no"}, {"Retry-After": "5"}))
    with cohere.ClientV2(KEY, base_url=server.url) as client:
        encoder = make(api_key=None, base_url=None, client=client)
        np.testing.assert_allclose(encoder.encode_texts(["a"]), text_rows(["a"]), atol=1e-6)
    assert clock.slept == [5.0]  # by us, not by the client's own retries
    assert encoder.fingerprint == make().fingerprint


def test_clients_that_cannot_be_used(make: Make, server: EmbedServer) -> None:
    for client in (cohere.Client(KEY), cohere.AsyncClientV2(KEY), object()):
        with pytest.raises(InvalidInputError, match=r"client must be a cohere.ClientV2"):
            make(api_key=None, base_url=None, client=client)
    with pytest.raises(InvalidInputError, match="either client"):
        make(client=cohere.ClientV2(KEY))


def test_requests_keep_the_pace(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    make(batch_size=1, concurrency=1, requests_per_minute=20).encode_texts(["a", "b", "c"])
    assert clock.slept == [3.0, 3.0]


def test_inputs_keep_the_pace(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    make(batch_size=5, concurrency=1, inputs_per_minute=10).encode_texts([str(i) for i in range(15)])
    assert clock.slept == [30.0, 30.0]


def test_usage_is_summed(make: Make, server: EmbedServer) -> None:
    encoder = make(batch_size=2)
    assert encoder.usage == {}
    encoder.encode_texts(["one two", "three", "four five six"])
    encoder.encode_images([picture((1, 1, 1)), picture((2, 2, 2))])
    assert encoder.usage == {"requests": 4, "input_tokens": 6, "images": 2}


def test_the_fingerprint_is_of_the_vectors(make: Make) -> None:
    first = make().fingerprint
    assert first == make(batch_size=3, concurrency=1, max_retries=0, api_key="other", timeout=1).fingerprint
    others = [
        make(V4).fingerprint,
        make(V4, output_dimension=256).fingerprint,
        make(V4, max_tokens=300).fingerprint,
        make(truncate="start").fingerprint,
        make("embed-multilingual-v3.0").fingerprint,
    ]
    assert len({first, *others}) == 6
    assert make(V4).fingerprint == make(V4, output_dimension=1536).fingerprint
    assert first.startswith("cohere-embed-english-v3.0-")


def test_texts_are_measured_in_characters(make: Make) -> None:
    encoder = make()
    assert encoder.count_tokens(["abc", ""]) == [3, 0]
    assert encoder.max_tokens == 4 * 512
    assert make(V4).max_tokens == 4 * 128_000
    assert make(V4, max_tokens=300).max_tokens == 1200


@pytest.mark.parametrize(("side", "lost"), [("end", "end"), ("start", "beginning")])
def test_long_texts_are_sent_whole_with_a_warning(make: Make, server: EmbedServer, side: str, lost: str) -> None:
    # 3,000 characters may be 500 tokens or 2,000: only the service knows whether the text is cut.
    words = (
        r"1 of 2 texts may be too long for embed-english-v3\.0, which reads 512 tokens: about 2048 characters"
        rf" of English.* \(the longest has 3000\)\. The {lost} of a text that is too long is cut off"
    )
    with pytest.warns(TruncationWarning, match=words):
        make(truncate=side).encode_texts(["x" * 3000, "y"])
    assert sorted(map(len, server.texts[0])) == [1, 3000]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"truncate": "END"}, "truncate must be one of end, start, none, got 'END'"),
        ({"max_retries": -1}, "max_retries must be a whole number of at least 0, got -1"),
        ({"concurrency": 0}, "concurrency must be a whole number of at least 1, got 0"),
        ({"timeout": 0}, "timeout must be a finite number greater than zero, got 0"),
        ({"timeout": None}, "timeout must be a finite number greater than zero, got None"),
        ({"timeout": float("inf")}, "timeout must be a finite number greater than zero, got inf"),
        ({"timeout": float("nan")}, "timeout must be a finite number greater than zero, got nan"),
        ({"requests_per_minute": True}, "requests_per_minute must be a finite number"),
        ({"inputs_per_minute": "5"}, "inputs_per_minute must be a finite number"),
        ({"output_dimension": 512}, "embed-english-v3.0 gives vectors of length 1024"),
        ({"max_tokens": 100}, "max_tokens cannot be set for embed-english-v3.0"),
        ({"device": "cpu"}, "device cannot be set for 'embed-english-v3.0'"),
        ({"region": "us-east-1"}, "region: no settings? of the family Cohere"),
        ({"api_key": 5}, "api_key must be a string, got int"),
    ],
)
def test_settings_that_cannot_be_used(make: Make, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        make(**settings)


def test_a_newer_model_needs_its_length(make: Make, server: EmbedServer) -> None:
    with pytest.raises(InvalidInputError, match=r"'embed-v9.0' is no Embed model that is known: .*output_dimension"):
        make("embed-v9.0")
    with pytest.raises(EncoderUnavailableError, match=r"HTTP 404: model 'embed-v9.0' not found\. Check the name"):
        make("embed-v9.0", output_dimension=640).encode_texts(["a"])
    assert server.calls[0].body["output_dimension"] == 640


@pytest.mark.parametrize("name", ["embed-v40", "embed-v4", "embed-v4.0x", "embed-v4.00", "embed-v04.0"])
def test_a_name_that_only_looks_like_a_model(make: Make, name: str) -> None:
    assert not family_named("Cohere").has_name(name)
    with pytest.raises(InvalidInputError, match=f"'{name}' is no Embed model that is known: .*named like embed-v6"):
        make(name, family="Cohere", output_dimension=77)


def test_a_pickled_copy_has_no_key_and_finds_its_own(
    make: Make, server: EmbedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make(V4, output_dimension=256, batch_size=3)
    sent = pickle.dumps(encoder)
    assert KEY.encode() not in sent
    with pytest.raises(EncoderUnavailableError, match=r"there is no API key\. Set CO_API_KEY"):
        pickle.loads(sent)
    monkeypatch.setenv("CO_API_KEY", KEY)
    copy = pickle.loads(sent)
    assert (copy.fingerprint, copy.options) == (encoder.fingerprint, encoder.options)
    assert np.array_equal(copy.encode_texts(["a"]), encoder.encode_texts(["a"]))
    assert repr(copy) == repr(encoder) == "CohereEncoder('embed-v4.0', dimension=256)"
    with cohere.ClientV2(KEY, base_url=server.url) as client:
        given = make(api_key=None, base_url=None, client=client)
        with pytest.raises(InvalidInputError, match="cannot be pickled or copied: it was given client="):
            pickle.dumps(given)


def test_a_file_that_breaks_while_it_is_read_is_reported(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(io.BytesIO):
        def __init__(self, number: int) -> None:
            super().__init__(b"x")
            self.number = number

        def read(self, *_: Any) -> bytes:
            raise OSError(self.number, os.strerror(self.number))

    path = tmp_path / "a.png"
    path.write_bytes(file_of(picture((1, 2, 3)), "PNG"))
    encoder = make()
    whole = Path.open
    numbers = [errno.EIO, errno.ENFILE]
    monkeypatch.setattr(
        Path, "open", lambda self, *how: Breaking(numbers.pop(0)) if self == path else whole(self, *how)
    )
    batch = encoder.encode_images_reporting([path, picture((4, 5, 6))])
    assert batch.kept == (1,)
    assert batch.failures[0].reason == f"cannot be read: {os.strerror(errno.EIO)}"
    # The machine's trouble is not the picture's.
    with pytest.raises(OSError, match=os.strerror(errno.ENFILE)):
        encoder.encode_images_reporting([path])


@pytest.mark.parametrize("package", ["cohere", "tenacity"])
def test_a_missing_package_names_the_extra(make: Make, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commonscale\[cohere\]'"):
        make()
