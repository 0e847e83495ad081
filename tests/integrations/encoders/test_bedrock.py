"""Cohere's Embed models on Amazon Bedrock through boto3, against a loopback server and botocore's own Stubber."""

from __future__ import annotations

import io
import json
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import Stubber
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
from embed_fake.rules import PASSAGE, QUESTION, REFUSED, REFUSED_COLOR, image_rows, text_rows, text_vector
from embed_fake.server import Answer, EmbedServer, FakeTime, serve_embeddings

V3, V4 = "cohere.embed-english-v3", "us.cohere.embed-v4:0"
SECRET = "aws-secret-0123456789"
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def running() -> Iterator[EmbedServer]:
    with serve_embeddings() as running:
        yield running


@pytest.fixture
def server(running: EmbedServer) -> EmbedServer:
    running.forget()
    return running


@pytest.fixture(scope="module")
def shared_client(running: EmbedServer) -> Any:
    """Make a client like that of load_encoder, which takes boto3 a tenth of a second."""
    config = Config(retries={"total_max_attempts": 1})
    key = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": SECRET}
    return boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=running.url, config=config, **key)


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set credentials of nobody, and keep boto3 from the machine's own and from asking for any."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def make(server: EmbedServer, clock: FakeTime, shared_client: Any) -> Make:
    """Load an encoder that asks the server and sleeps by the fake clock; ``own``: with a client that it makes."""

    def load(name: str = V3, *, own: bool = False, **settings: Any) -> Any:
        place = {"region": "us-east-1", "base_url": server.url} if own else {"client": shared_client}
        encoder = load_encoder(name, **{**place, **settings})
        clock.govern(encoder)
        return encoder

    return load


def throttled(**headers: str) -> Answer:
    return Answer(429, {"message": "Too many requests"}, {"x-amzn-ErrorType": "ThrottlingException", **headers})


def test_the_body_of_a_request_byte_for_byte() -> None:
    client = boto3.client("bedrock-runtime", region_name="us-east-1")
    encoder = load_encoder(V3, client=client)
    content = json.dumps({"embeddings": {"float": text_vector("a", QUESTION, 1024)[None].tolist()}}).encode()
    body = b'{"input_type": "search_query", "embedding_types": ["float"], "texts": ["caf\\u00e9?"], "truncate": "END"}'
    with Stubber(client) as stub:
        stub.add_response(
            "invoke_model",
            {"body": StreamingBody(io.BytesIO(content), len(content)), "contentType": "application/json"},
            {
                "modelId": V3,
                "body": body.decode(),
                "contentType": "application/json",
                "accept": "application/json",
            },
        )
        rows = encoder.encode_questions(["café?"])
        stub.assert_no_pending_responses()
    np.testing.assert_allclose(rows, text_rows(["a"], QUESTION), atol=1e-6)


def test_questions_and_passages_have_their_input_types(make: Make, server: EmbedServer) -> None:
    encoder = make(own=True)
    np.testing.assert_allclose(encoder.encode_questions(["a dog"]), text_rows(["a dog"], QUESTION), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(["a dog"]), text_rows(["a dog"]), atol=1e-6)
    question, passage = server.calls
    assert question.path == "/model/cohere.embed-english-v3/invoke"
    assert question.headers["content-type"] == "application/json"
    assert question.body == {
        "input_type": "search_query",
        "texts": ["a dog"],
        "embedding_types": ["float"],
        "truncate": "END",
    }
    assert passage.body["input_type"] == "search_document"


def test_rows_are_in_the_order_given(make: Make, server: EmbedServer) -> None:
    texts = [f"text {'x' * (i * 7 % 23)} {i}" for i in range(200)]
    rows = make(V4, batch_size=500, output_dimension=256).encode_texts(texts)
    np.testing.assert_allclose(rows, text_rows(texts, dimension=256), atol=1e-6)
    assert sorted(map(len, server.texts)) == [8, 96, 96]


def test_embed_4_has_its_own_words(make: Make, server: EmbedServer) -> None:
    for side in ("end", "start", "none"):
        make(V4, output_dimension=256, truncate=side, max_tokens=300).encode_texts(["a"])
    assert [call.body["truncate"] for call in server.calls] == ["RIGHT", "LEFT", "NONE"]
    assert server.calls[0].path == "/model/us.cohere.embed-v4%3A0/invoke"
    assert (server.calls[0].body["output_dimension"], server.calls[0].body["max_tokens"]) == (256, 300)


@pytest.mark.parametrize(
    ("name", "settings", "dimension"),
    [
        ("cohere.embed-multilingual-v3", {}, 1024),
        ("eu.cohere.embed-v4:0", {}, 1536),
        ("global.cohere.embed-v4:0", {"output_dimension": 512}, 512),
        ("arn:aws:bedrock:us-east-1::foundation-model/cohere.embed-english-v3", {}, 1024),
        ("arn:aws-us-gov:bedrock:us-gov-west-1:1:inference-profile/us-gov.cohere.embed-v4:0", {}, 1536),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", {"model": "cohere.embed-v4:0"}, 1536),
    ],
)
def test_ids_profiles_and_arns(
    make: Make, server: EmbedServer, name: str, settings: dict[str, Any], dimension: int
) -> None:
    encoder = make(name, **settings)
    assert encoder.encode_texts(["a"]).shape == (1, dimension)
    assert server.calls[0].path.count("/") == 3  # the id is quoted whole


def test_an_arn_that_names_no_model(make: Make) -> None:
    with pytest.raises(InvalidInputError, match=r"does not say which Embed model.*model='cohere.embed-v4:0'"):
        make("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123")


def test_embed_3_takes_one_picture_a_request(make: Make, server: EmbedServer) -> None:
    pictures = [Image.new("RGB", (20, 30), (10 * i, 7, 200)) for i in range(3)]
    np.testing.assert_allclose(make().encode_images(pictures), image_rows(pictures, "image", 1024), atol=1e-6)
    assert [set(call.body) for call in server.calls] == [{"input_type", "images", "embedding_types"}] * 3
    assert {call.body["input_type"] for call in server.calls} == {"image"}


def test_embed_4_takes_many(make: Make, server: EmbedServer) -> None:
    pictures = [Image.new("RGB", (20, 30), (10 * i, 7, 200)) for i in range(3)]
    np.testing.assert_allclose(make(V4).encode_images(pictures), image_rows(pictures, PASSAGE, 1536), atol=1e-6)
    (call,) = server.calls
    assert (call.body["input_type"], len(call.body["images"])) == ("search_document", 3)


def test_other_formats_are_written_anew(make: Make, server: EmbedServer) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 30), (200, 7, 9)).save(stream, "WEBP", lossless=True)
    make().encode_images([stream.getvalue()])
    assert server.calls[0].pictures[0].format == "PNG"


def test_a_picture_stays_within_5_mb_of_base64(make: Make, server: EmbedServer) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1150, 1200, 3), dtype=np.uint8))
    stream = io.BytesIO()
    noise.save(stream, "PNG", compress_level=0)
    assert 3_750_000 < len(stream.getvalue()) < 5_000_000
    make().encode_images([stream.getvalue()])
    (call,) = server.calls
    assert len(call.body["images"][0]) < 5_000_000 + 50
    assert (call.pictures[0].format, call.pictures[0].size) == ("JPEG", noise.size)


def test_long_texts_are_cut_at_2048_characters(make: Make, server: EmbedServer) -> None:
    text = "start" + "x" * 3000 + "end"
    with pytest.warns(TruncationWarning, match=r"1 of 2 texts are longer than the 2048 characters .* has 3008"):
        make().encode_texts([text, "short"])
    with pytest.warns(TruncationWarning, match="their beginning was cut off"):
        make(truncate="start").encode_texts([text])
    assert sorted(map(len, server.texts[0])) == [5, 2048]
    assert server.texts[0][0].startswith("startx")
    assert server.texts[1][0].endswith("xend")
    assert len(server.texts[1][0]) == 2048


def test_a_pickled_copy_asks_the_same_model(make: Make, server: EmbedServer) -> None:
    encoder = make(own=True)
    sent = pickle.dumps(encoder)
    assert SECRET.encode() not in sent
    copy = pickle.loads(sent)
    assert copy.fingerprint == encoder.fingerprint
    assert np.array_equal(copy.encode_texts(["a"]), encoder.encode_texts(["a"]))
    assert repr(copy) == repr(encoder) == "BedrockEncoder('cohere.embed-english-v3', dimension=1024)"
    with pytest.raises(InvalidInputError, match="cannot be pickled or copied: it was given client="):
        pickle.dumps(make())


def test_long_texts_can_be_refused(make: Make, server: EmbedServer) -> None:
    encoder = make(truncate="none")
    with pytest.raises(InputRefusedError, match="takes texts of at most 2048 characters, got one of 2049"):
        encoder.encode_texts(["x" * 2049])
    assert encoder.encode_texts_reporting(["a", "x" * 2049, "b"]).kept == (0, 2)


def test_embed_4_reads_long_texts(make: Make, server: EmbedServer) -> None:
    encoder = make(V4)
    encoder.encode_texts(["x" * 5000])
    assert server.texts == [["x" * 5000]]
    assert encoder.max_tokens == 512_000
    assert make().max_tokens == 2048


def test_refused_items_are_found_and_left_out(make: Make, server: EmbedServer) -> None:
    texts = [f"{REFUSED} here" if i in (3, 8) else f"text {i}" for i in range(10)]
    batch = make(concurrency=1).encode_texts_reporting(texts)
    assert [failure.index for failure in batch.failures] == [3, 8]
    assert "Amazon Bedrock refuses what was sent: HTTP 400: ValidationException: the text" in batch.failures[0].reason
    np.testing.assert_allclose(batch.vectors, text_rows([t for t in texts if REFUSED not in t]), atol=1e-6)
    pictures = make().encode_images_reporting([Image.new("RGB", (9, 9), REFUSED_COLOR), Image.new("RGB", (9, 9))])
    assert pictures.kept == (1,)


def test_a_model_that_needs_a_profile(make: Make, server: EmbedServer) -> None:
    with pytest.raises(EncoderUnavailableError, match=r"setting is wrong.*on-demand throughput isn't supported"):
        make("cohere.embed-v4:0").encode_texts_reporting([str(i) for i in range(50)])
    assert len(server.calls) <= 2 * 4


def test_throttling_is_waited_out(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.script.extend([throttled(), throttled(**{"Retry-After": "9"}), throttled(**{"x-amz-retry-after": "4500"})])
    np.testing.assert_allclose(make(own=True).encode_texts(["a"]), text_rows(["a"]), atol=1e-6)
    assert clock.slept[1:] == [9.0, 4.5]
    assert 1 <= clock.slept[0] <= 2
    assert len(server.calls) == 4  # boto3 adds no attempts of its own


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
        (408, "ModelTimeoutException"),
        (429, "ModelNotReadyException"),
        (424, "ModelErrorException"),
    ],
)
def test_passing_failures_end_with_one_clear_error(make: Make, server: EmbedServer, status: int, code: str) -> None:
    server.always = Answer(status, {"message": "not now"}, {"x-amzn-ErrorType": code})
    with pytest.raises(EncoderUnavailableError, match=f"in all of 3 attempts, lastly so: HTTP {status}: {code}: not"):
        make(max_retries=2).encode_texts(["a"])
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDeniedException", "bedrock:InvokeModel"),
        (403, "ExpiredTokenException", "Give credentials as boto3 reads them"),
        (404, "ResourceNotFoundException", "Check the id of the model"),
        (400, "ServiceQuotaExceededException", "Service Quotas"),
    ],
)
def test_what_retries_cannot_help_fails_at_once(
    make: Make, server: EmbedServer, status: int, code: str, words: str
) -> None:
    server.always = Answer(status, {"message": "no"}, {"x-amzn-ErrorType": code})
    with pytest.raises(EncoderUnavailableError, match=f"cannot be used: .*{code}: no.*{words}"):
        make().encode_texts_reporting(["a", "b"])
    assert len(server.calls) == 1


def test_what_the_model_itself_refuses_is_of_the_item(make: Make, server: EmbedServer) -> None:
    encoder = make()
    encoder.encode_texts(["fine"])
    server.always = Answer(
        424, {"message": "bad input", "originalStatusCode": 400}, {"x-amzn-ErrorType": "ModelErrorException"}
    )
    with pytest.raises(InputRefusedError, match="ModelErrorException: bad input"):
        encoder.encode_texts(["a"])


def test_an_answer_that_is_late_is_asked_for_again(make: Make, server: EmbedServer, clock: FakeTime) -> None:
    server.script.append(Answer(hang=True))
    np.testing.assert_allclose(make(own=True, timeout=0.3).encode_texts(["a"]), text_rows(["a"]), atol=1e-6)
    assert len(clock.slept) == 1


def test_no_connection(make: Make, clock: FakeTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EncoderUnavailableError, match="in all of 2 attempts, lastly so: EndpointConnectionError"):
        make(own=True, base_url=f"http://127.0.0.1:{port}", max_retries=1).encode_texts(["a"])
    assert len(clock.slept) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200, b"<html>welcome</html>"), "an answer that is no JSON: b'<html>welcome"),
        (Answer(200, [1, 2]), r"shape \(0,\) where \(2, 1024\) was needed"),
        (Answer(200, {"embeddings": {"int8": [[1]]}}), r"shape \(0,\)"),
        (Answer(200, {"embeddings": [[1.0], [2.0]]}), r"shape \(2, 1\)"),
        (Answer(200, {"embeddings": {"float": [[1.0], [2.0, 3.0]]}}), "cannot be read"),
    ],
)
def test_answers_that_cannot_be_used(make: Make, server: EmbedServer, answer: Answer, words: str) -> None:
    server.always = answer
    with pytest.raises(EncoderError, match=words) as caught:
        make().encode_texts_reporting(["a", "b"])
    assert type(caught.value) is EncoderError


def test_the_older_form_of_answers_is_read(make: Make, server: EmbedServer) -> None:
    server.always = Answer(edit=lambda body: {"embeddings": body["embeddings"]["float"], "id": "1"})
    np.testing.assert_allclose(make().encode_texts(["a"]), text_rows(["a"]), atol=1e-6)


def test_usage_is_summed(make: Make) -> None:
    encoder = make(batch_size=1)
    encoder.encode_texts(["a", "b"])
    assert encoder.usage == {"requests": 2, "input_tokens": 14}


def test_no_credentials(make: Make, server: EmbedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(EncoderUnavailableError, match=r"Unable to locate credentials.*Give credentials as boto3 reads"):
        make(own=True).encode_texts(["a"])
    assert server.calls == []


def test_no_region(make: Make) -> None:
    with pytest.raises(EncoderUnavailableError, match=r"You must specify a region.*Pass region="):
        make(own=True, region=None)


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_comes_from_the_environment(
    make: Make, server: EmbedServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "eu-west-3")
    make(own=True, region=None).encode_texts(["a"])
    assert "/eu-west-3/bedrock/" in server.calls[0].headers["authorization"]


def test_a_profile_that_is_not_there(make: Make) -> None:
    with pytest.raises(EncoderUnavailableError, match=r"profile \(mine\) could not be found.*Pass region="):
        make(own=True, profile="mine")


def test_the_secret_is_never_shown(make: Make, server: EmbedServer) -> None:
    encoder = make(own=True)
    server.always = Answer(403, {"message": "no"}, {"x-amzn-ErrorType": "AccessDeniedException"})
    with pytest.raises(EncoderUnavailableError) as caught:
        encoder.encode_texts(["a"])
    assert SECRET not in f"{caught.value} {encoder!r} {encoder.calls!r} {encoder.fingerprint}"


def test_a_client_of_the_caller(make: Make, server: EmbedServer, clock: FakeTime, shared_client: Any) -> None:
    server.script.append(throttled(**{"Retry-After": "5"}))
    encoder = make(client=shared_client)
    np.testing.assert_allclose(encoder.encode_texts(["a"]), text_rows(["a"]), atol=1e-6)
    assert clock.slept == [5.0]
    with pytest.raises(InvalidInputError, match="either client"):
        make(client=shared_client, region="us-east-1")
    with pytest.raises(InvalidInputError, match="client must be boto3's client of 'bedrock-runtime', got object"):
        make(client=object())


def test_the_fingerprint_is_of_the_model_and_the_service(make: Make) -> None:
    first = make().fingerprint
    assert first == make(own=True, batch_size=3, region="eu-west-1", requests_per_minute=9).fingerprint
    profile = make(V4).fingerprint
    assert profile == make("global.cohere.embed-v4:0").fingerprint
    assert first != make(truncate="start").fingerprint
    at_cohere = load_encoder("embed-english-v3.0", api_key="key").fingerprint
    assert first != at_cohere  # neither promises the other's vectors
    assert first.startswith("bedrock-embed-english-v3.0-")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"truncate": "RIGHT"}, "truncate must be one of end, start, none"),
        ({"output_dimension": 100}, "output_dimension=100, but embed-english-v3.0 gives"),
        ({"api_key": "x"}, "api_key: no settings? of the family Bedrock"),
        ({"dtype": "float16"}, "dtype cannot be set for"),
        ({"model": "cohere.command"}, "'cohere.command' does not say which"),
    ],
)
def test_settings_that_cannot_be_used(make: Make, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        make(**settings)


@pytest.mark.parametrize("package", ["boto3", "tenacity"])
def test_a_missing_package_names_the_extra(make: Make, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commonscale\[bedrock\]'"):
        make()
