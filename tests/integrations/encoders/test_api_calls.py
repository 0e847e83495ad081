"""The pace of calls, what services say about waiting, and what makes an attempt worth repeating."""

from __future__ import annotations

import email.utils
import threading
import time
from concurrent.futures import CancelledError

import pytest

from commonscale.core.errors import EncoderUnavailableError, InvalidInputError
from commonscale.encoders.pipeline import ahead, pause
from commonscale.encoders.services.calls import Calls, Trouble, clipped, retry_after, trouble_of_status
from commonscale.encoders.services.pace import Pace
from embed_fake.server import FakeTime


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


def starts(pace: Pace, clock: FakeTime, inputs: list[int]) -> list[float]:
    times = []
    for count in inputs:
        pace.wait(count)
        times.append(clock.now)
    return times


def test_without_a_rate_nobody_waits(clock: FakeTime) -> None:
    assert starts(Pace(clock=clock.clock, sleep=clock.sleep), clock, [96] * 5) == [0] * 5
    assert clock.slept == []


def test_requests_are_spread_over_the_minute(clock: FakeTime) -> None:
    assert starts(Pace(30, clock=clock.clock, sleep=clock.sleep), clock, [1] * 4) == [0, 2, 4, 6]


def test_the_stricter_of_two_rates_counts(clock: FakeTime) -> None:
    pace = Pace(60, 120, clock=clock.clock, sleep=clock.sleep)
    assert starts(pace, clock, [1, 10, 1, 1]) == [0, 1, 6, 7]


def test_time_that_passed_anyway_is_not_waited_again(clock: FakeTime) -> None:
    pace = Pace(60, clock=clock.clock, sleep=clock.sleep)
    pace.wait(1)
    clock.now = 100.0
    assert starts(pace, clock, [1, 1]) == [100, 101]


def test_a_service_that_asks_to_wait_holds_everybody(clock: FakeTime) -> None:
    pace = Pace(clock=clock.clock, sleep=clock.sleep)
    calls = Calls("It", lambda _: Trouble("passing", "busy", wait=8.0), "x", 3, pace, sleep=lambda _: pace.wait(1))
    outcomes = iter([RuntimeError(), "fine"])

    def send() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # Another thread, which asks for its turn while this one sleeps, is let through no sooner.
    assert calls(send, 1) == "fine"
    assert clock.now == 8.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-4"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"Other": "3"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_retry_after(headers: dict[str, str] | None, seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize("zone", [True, False])
def test_retry_after_as_a_date(zone: bool) -> None:
    date = email.utils.formatdate(time.time() + 50, usegmt=True)
    found = retry_after({"Retry-After": date if zone else date.removesuffix(" GMT")})
    assert found is not None
    assert 30 < found <= 50


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("broken", [200, 204]),
        ("refused", [400, 413, 422]),
        ("unavailable", [302, 401, 402, 403, 404, 501]),
        ("passing", [408, 429, 500, 502, 503, 504, 529]),
    ],
)
def test_statuses(kind: str, statuses: list[int]) -> None:
    assert {trouble_of_status(status, "words", "", None).kind for status in statuses} == {kind}


def test_errors_that_say_nothing_of_the_service_come_as_they_are(clock: FakeTime) -> None:
    pace = Pace(clock=clock.clock, sleep=clock.sleep)
    calls = Calls("It", lambda _: None, "x", 3, pace, sleep=clock.sleep)

    def mistaken() -> None:
        raise KeyError("a mistake in the program")

    def ours() -> None:
        raise InvalidInputError("ours")

    with pytest.raises(KeyError, match="a mistake"):
        calls(mistaken, 1)
    with pytest.raises(InvalidInputError, match="ours"):
        calls(ours, 1)
    assert clock.slept == []


def test_the_cause_is_kept_unless_it_holds_a_secret(clock: FakeTime) -> None:
    pace = Pace(clock=clock.clock, sleep=clock.sleep)
    calls = Calls("It", lambda e: Trouble("unavailable", str(e)), "x", 0, pace, ("hush",), clock.sleep)

    def failing(words: str) -> None:
        raise OSError(words)

    with pytest.raises(EncoderUnavailableError, match="It cannot be used: plain") as plain:
        calls(lambda: failing("plain"), 1)
    with pytest.raises(EncoderUnavailableError, match=r"It cannot be used: say \[key\]") as secret:
        calls(lambda: failing("say hush"), 1)
    assert isinstance(plain.value.__cause__, OSError)
    assert secret.value.__cause__ is None
    assert secret.value.__suppress_context__


def test_nobody_waits_for_a_pause_whose_result_is_not_wanted() -> None:
    asleep, ended = threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item == 0:
            asleep.wait(20)
            raise ValueError("the first one fails")
        asleep.set()
        try:
            pause(20)
        except CancelledError:
            ended.set()
            raise

    with pytest.raises(ValueError, match="the first one fails"):
        list(ahead(work, range(2), 2, 2))
    assert ended.is_set()


def test_sentences_end_once(clock: FakeTime) -> None:
    calls = Calls(
        "It", lambda e: Trouble("passing", str(e), "Wait."), "x", 0, Pace(clock=clock.clock), sleep=clock.sleep
    )

    def failing() -> None:
        raise OSError("It broke.")

    with pytest.raises(EncoderUnavailableError, match=r"lastly so: It broke\. Wait\.$"):
        calls(failing, 1)


def test_long_words_are_clipped() -> None:
    assert clipped("a\n b") == "a b"
    assert clipped("x" * 400) == "x" * 300 + "..."
