from __future__ import annotations

from typing import Any

import pytest

from commonscale.answering.failures import Failures
from commonscale.answering.redaction import hidden, secrets_in
from commonscale.core.errors import AnswererError, InvalidInputError

FAILURES = Failures("openai:gpt", "OPENAI_API_KEY", "http://here:1/v1", ("hunter2-hunter2",))


def error(words: str = "no", name: str = "APIError", *bases: type[Exception], **attributes: Any) -> Exception:
    """An exception as a client might raise it."""
    made = type(name, bases or (Exception,), {})(words)
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (error(status_code=401), r"refuses the API key \(HTTP 401\); set the environment variable OPENAI_API_KEY"),
        (error("API key not valid. Please pass one.", code=400), r"refuses the API key \(HTTP 400\); set"),
        (error("Incorrect API key provided", status_code=400), "refuses the API key"),
        (error("not here", status_code=403), r"refuses access \(HTTP 403: not here\); set"),
        (error(status_code=404), r"is not known at http://here:1/v1 \(HTTP 404: no\); check the name of the model"),
        (error(status_code=408), r"did not answer in time \(HTTP 408\)"),
        (error("slow down", status_code=429), r"too often at the moment \(HTTP 429: slow down\); wait a little"),
        (error("Too many tokens, please wait before trying again.", status_code=429), "too often at the moment"),
        (error("exceeded your current quota", status_code=429), "has no quota left for this API key"),
        (error("credit too low", status_code=402), "has no quota left for this API key"),
        (error(status_code=413), "is too large for openai:gpt"),
        (error("oops", status_code=500), r"has a problem of its own \(HTTP 500: oops\); ask again later"),
        (error("no images", status_code=400), r"does not take what was sent \(HTTP 400: no images\)"),
        (error("no", code=503), "has a problem of its own"),
        (error("no", response=error(status_code=529)), "has a problem of its own"),
        (error("no", response={"ResponseMetadata": {"HTTPStatusCode": 500}}), "has a problem of its own"),
        (error("maximum context length is 9", status_code=400), "too long for openai:gpt: maximum context length is 9"),
        (error("The input token count (9) exceeds", code=400), "is too long for openai:gpt"),
        (error("x", "Overflow", type("ContextOverflowError", (Exception,), {})), "is too long for openai:gpt"),
        (TimeoutError(), "did not answer in time; ask again later"),
        (caused(error("Connection error."), error("", "ReadTimeoutError")), "did not answer in time"),
        (caused(error("Connection error."), ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (ConnectionRefusedError(111, "Connection refused"), r"cannot be reached at http://here:1/v1 \("),
        (error("peer closed", "RemoteProtocolError"), "broke off before the answer was whole; ask again"),
        (error("Missing credentials. Set OPENAI_API_KEY"), "cannot be asked without an API key; set the environment"),
        (ValueError("odd\nthings  happened."), "openai:gpt failed: ValueError: odd things happened$"),
        (ValueError("No generation chunks were returned"), "gave an empty answer; ask again, or check the base URL"),
        (ValueError(), "openai:gpt failed: ValueError: ValueError$"),
        (error("", status_code=500), r"\(HTTP 500"),
    ],
)
def test_every_failure_has_its_sentence(failure: Exception, said: str) -> None:
    explained = FAILURES(failure)
    assert isinstance(explained, AnswererError)
    with pytest.raises(AnswererError, match=said):
        raise explained


def test_the_providers_own_words_are_taken_out_of_their_wrapping() -> None:
    for attributes in (
        {"body": {"message": "Too hot"}},
        {"body": {"type": "error", "error": {"type": "x", "message": "Too hot"}}},
        {"body": {"error": "Too hot"}},
        {"details": {"error": {"code": 500, "message": "Too hot"}}},
    ):
        assert "(HTTP 500: Too hot)" in str(FAILURES(error("Error: {'much': 1}", status_code=500, **attributes)))
    assert "(HTTP 500: wrapped)" in str(FAILURES(error("wrapped", status_code=500, body={"odd": 1})))
    assert "a web page came back" in str(FAILURES(error("<!DOCTYPE html><p>hi", status_code=502)))
    assert len(str(FAILURES(error("long " * 1000, status_code=500)))) < 400


def test_what_breaks_after_it_began_says_so() -> None:
    assert "openai:gpt broke off: ValueError: api_key" in str(FAILURES(ValueError("api_key"), begun=True))


def test_without_a_known_variable_the_key_is_just_asked_for() -> None:
    assert str(Failures("x")(error(status_code=401))).endswith("(HTTP 401); give it a valid one")


def test_own_errors_stay_as_they_are() -> None:
    own = AnswererError("mine")
    assert FAILURES(own) is own
    assert str(FAILURES(InvalidInputError("yours"))) == "yours"


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    first, second = ValueError("one"), ValueError("two")
    first.__context__, second.__context__ = second, first
    assert "ValueError" in str(FAILURES(first))


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "environment-key")
    words = (
        "keys hunter2-hunter2, environment-key, sk-proj-abc123456, sk-abc***********xyz, AIzaSyD-1234567890, "
        "Authorization: Bearer abc.def and https://user:word@host/x?key=abc"
    )
    shown = str(FAILURES(error(words, status_code=500)))
    for secret in ("hunter2", "environment-key", "abc", "xyz", "AIza", "user", "word@"):
        assert secret not in shown
    assert shown.count("[hidden]") == 8
    assert "Bearer [hidden])" in str(FAILURES(error("said Bearer abc.def", status_code=500)))


@pytest.mark.parametrize("before", range(280, 300, 3))
def test_no_half_of_a_secret_is_left_where_long_words_are_cut(before: int) -> None:
    assert "hunter" not in str(FAILURES(error("x" * before + " hunter2-hunter2", status_code=500)))


def test_validation_errors_do_not_repeat_what_was_given() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Settings(pydantic.BaseModel):
        size: int

    with pytest.raises(pydantic.ValidationError) as caught:
        Settings(size="my-secret")
    shown = str(FAILURES(caught.value))
    assert "my-secret" not in shown
    assert "Input should be a valid integer" in shown


def test_wrapped_secrets_are_found() -> None:
    class Wrapped:
        def get_secret_value(self) -> str:
            return "deep-secret"

    assert secrets_in([Wrapped(), "open", None]) == ("deep-secret",)
    assert hidden("a deep-secret", secrets_in([Wrapped()])) == "a [hidden]"
    assert hidden("the bus is red", ["red"]) == "the bus is red"
