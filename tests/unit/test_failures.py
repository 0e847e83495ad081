"""Sources that are down, slow or wrong, as fakes; real stores that fail are in tests/integrations/stores."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from commonscale import (
    Calibration,
    Candidates,
    FailurePolicy,
    JointSearch,
    ModalityCalibration,
    ModalityStatistics,
    Question,
    QuestionBank,
    Ranking,
)
from commonscale.core import search as search_module
from commonscale.core.concurrency import ON_LOOP
from commonscale.core.errors import (
    InvalidInputError,
    MissingExtraError,
    MissingModalityWarning,
    SourceError,
    SourceUnavailableError,
    StoreCheckError,
)
from commonscale.core.passing import PASSING, is_passing
from commonscale.stores.table import Found, TableSource
from sources import ArraySource, unit_rows

MODES = ["sync", "async"]
SKIP = FailurePolicy(on_failure="skip", backoff=0)
SCALE = Calibration({m: ModalityCalibration(ModalityStatistics(0.2, 0.1, 100)) for m in ("text", "image")})
ROWS = unit_rows(np.random.default_rng(3), 12, 4)
ASK = Question("which?", ROWS[0])


def texts() -> ArraySource:
    return ArraySource([f"t{i}" for i in range(6)], ROWS[:6])


def images() -> ArraySource:
    return ArraySource([f"i{i}" for i in range(6)], ROWS[6:], "image")


class FakeFailing(ArraySource):
    """Raises the errors it was given, one per search, and answers when they are used up."""

    def __init__(self, *errors: BaseException, remote: bool = False, always: bool = False) -> None:
        super().__init__([f"i{i}" for i in range(6)], ROWS[6:], "image")
        self.errors = list(errors)
        self.remote = remote
        self.always = always

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        found = super().search(questions, k)
        if self.errors:
            raise self.errors[0] if self.always else self.errors.pop(0)
        return found


class FakeHanging(ArraySource):
    """Does not answer before it is let go; says in which thread it was asked."""

    def __init__(self) -> None:
        super().__init__([f"i{i}" for i in range(6)], ROWS[6:], "image")
        self.go = threading.Event()
        self.threads: list[threading.Thread] = []

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        self.threads.append(threading.current_thread())
        if not self.go.wait(30):
            raise AssertionError("nobody let the source go")
        return super().search(questions, k)


class FakeServed(ArraySource):
    """An asynchronous source: fails at once with an error, or waits until it is cancelled."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(["i0"], ROWS[:1], "image")
        self.error = error
        self.cancelled = 0
        self.ended = 0

    async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        if self.error is not None:
            raise self.error
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(0)
            self.ended += 1
            raise
        return []


async def ask(mode: str, search: JointSearch, k: int = 4, **settings: Any) -> Ranking:
    return await search.asearch(ASK, k, **settings) if mode == "async" else search.search(ASK, k, **settings)


async def calibrate(mode: str, search: JointSearch, questions: Sequence[Question]) -> Calibration:
    return (
        await search.acalibrate(questions, method="standardized")
        if mode == "async"
        else search.calibrate(questions, method="standardized")
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds above 0, or None, got 0"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"timeout": "5"}, "timeout must be .* got '5'"),
        ({"attempts": 0}, "attempts must be an integer of at least 1, or None, got 0"),
        ({"attempts": 1.5}, "attempts must be"),
        ({"attempts": True}, "attempts must be"),
        ({"on_failure": "ignore"}, "on_failure must be one of raise, skip, got 'ignore'"),
        ({"backoff": -1}, "backoff must be a number of seconds, 0 or more, got -1"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        FailurePolicy(**settings)


def test_a_policy_cannot_be_changed_and_nothing_else_is_one() -> None:
    with pytest.raises(FrozenInstanceError):
        FailurePolicy().timeout = 3  # type: ignore[misc]
    with pytest.raises(InvalidInputError, match=r"failures must be a FailurePolicy, .* got 'skip'"):
        JointSearch({"text": texts()}, failures="skip")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_recovers_is_asked_again(mode: str) -> None:
    pytest.importorskip("tenacity")
    image = FakeFailing(ConnectionRefusedError(111), TimeoutError(), remote=True)
    ranking = await ask(mode, JointSearch({"image": image}, SCALE, failures=FailurePolicy(backoff=0)))
    assert len(image.calls) == 3
    assert ranking.ids == JointSearch({"image": images()}, SCALE).search(ASK, 4).ids
    assert ranking.missing == {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("remote", "attempts", "asked"), [(True, None, 3), (False, None, 1), (True, 1, 1), (False, 2, 2), (True, 5, 5)]
)
async def test_how_often_a_source_is_asked(mode: str, remote: bool, attempts: int | None, asked: int) -> None:
    pytest.importorskip("tenacity")
    image = FakeFailing(ConnectionResetError(104, "reset by peer"), remote=remote, always=True)
    search = JointSearch({"text": texts(), "image": image}, SCALE, failures=FailurePolicy(attempts=attempts, backoff=0))
    tries = f" after {asked} attempts" if asked > 1 else ""
    with pytest.raises(SourceUnavailableError) as caught:
        await ask(mode, search)
    assert len(image.calls) == asked
    assert str(caught.value).startswith(
        f"the FakeFailing of modality 'image' cannot be searched{tries}: ConnectionResetError: [Errno 104] reset by "
        f"peer. Check that its server runs"
    )
    assert "on_failure='skip'" in str(caught.value)
    assert caught.value.__cause__ is image.errors[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [KeyError("x"), PermissionError(13), TypeError("bug"), InvalidInputError("ours")])
@pytest.mark.parametrize("on_failure", ["raise", "skip"])
async def test_what_trying_again_cannot_mend_is_raised_as_it_came(mode: str, error: Exception, on_failure: Any) -> None:
    pytest.importorskip("tenacity")
    image = FakeFailing(error, remote=True, always=True)
    policy = FailurePolicy(attempts=3, backoff=0, on_failure=on_failure)
    with pytest.raises(type(error)) as caught:
        await ask(mode, JointSearch({"text": texts(), "image": image}, SCALE, failures=policy))
    assert caught.value is error
    assert len(image.calls) == 1


def test_pauses_grow_and_are_lengthened_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tenacity")
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", pauses.append)
    image = FakeFailing(*[ConnectionError() for _ in range(4)], remote=True)
    JointSearch({"image": image}, SCALE, failures=FailurePolicy(attempts=5, backoff=0.5)).search(ASK, 1)
    assert len(pauses) == 4
    for pause, least in zip(pauses, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert least <= pause <= least + 0.5


def test_attempts_need_a_package_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commonscale\[retries\]'"):
        JointSearch({"image": FakeFailing(remote=True)}, SCALE).search(ASK, 1)
    once = FailurePolicy(attempts=1)
    assert len(JointSearch({"image": FakeFailing(remote=True)}, SCALE, failures=once).search(ASK, 1)) == 1
    assert len(JointSearch({"image": FakeFailing()}, SCALE).search(ASK, 1)) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_source_that_does_not_answer_in_time(mode: str) -> None:
    image = FakeHanging()
    policy = FailurePolicy(timeout=0.01)
    try:
        with pytest.raises(SourceUnavailableError, match=r"no answer within 0.01 s.*raise timeout= \(now 0.01 s\)"):
            await ask(mode, JointSearch({"text": texts(), "image": image}, SCALE, failures=policy))
        assert [thread.daemon for thread in image.threads] == [True]
    finally:
        image.go.set()
    image.threads[0].join(30)
    assert not image.threads[0].is_alive()


async def test_an_asynchronous_search_that_is_late_is_cancelled() -> None:
    image = FakeServed()
    search = JointSearch({"text": texts(), "image": image}, SCALE, failures=FailurePolicy(timeout=0.01))
    with pytest.raises(SourceUnavailableError, match=r"FakeServed of modality 'image'.*no answer within 0.01 s"):
        await search.asearch(ASK, 4)
    assert (image.cancelled, image.ended) == (1, 1)


@pytest.mark.parametrize("mode", MODES)
async def test_a_timeout_of_the_store_keeps_its_own_words(mode: str) -> None:
    image = FakeFailing(TimeoutError("the pool of 5 connections is exhausted"), always=True)
    with pytest.raises(SourceUnavailableError, match="the pool of 5 connections is exhausted"):
        await ask(mode, JointSearch({"image": image}, SCALE, failures=FailurePolicy(timeout=30)))


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_in_time_is_the_answer_without_a_limit(mode: str) -> None:
    seen: list[str] = []
    trace: ContextVar[str] = ContextVar("trace")

    class Traced(ArraySource):
        def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
            seen.append(trace.get())
            return super().search(questions, k)

    trace.set("of the caller")
    traced = Traced([f"i{i}" for i in range(6)], ROWS[6:], "image")
    sources = {"text": texts(), "image": traced}
    limited = await ask(mode, JointSearch(sources, SCALE, failures=FailurePolicy(timeout=30)))
    assert limited == await ask(mode, JointSearch(sources, SCALE))
    assert seen == ["of the caller"] * 2


def test_a_source_that_says_nothing_stays_in_the_callers_thread_unless_it_is_timed() -> None:
    image = FakeHanging()
    image.go.set()
    sources = {"text": texts(), "image": image}
    JointSearch(sources, SCALE).search(ASK, 4)
    JointSearch(sources, SCALE, failures=FailurePolicy(timeout=30)).search(ASK, 4)
    assert image.threads[0] is threading.current_thread()
    assert image.threads[1] is not threading.current_thread()


WRONG = {
    "a document twice: 'b'": Candidates(["a", "b", "b"], np.array([0.5, 0.4, 0.3])),
    "is null or not finite": Candidates(["a", "b"], np.array([0.5, np.nan])),
    "5 hits where 4 were asked for": Candidates(list("abcde"), np.zeros(5)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [ConnectionError("refused"), *WRONG], ids=str)
async def test_the_other_modality_alone_says_so(mode: str, error: Any) -> None:
    image: Any = FakeFailing(error, always=True)
    if isinstance(error, str):
        image.search = lambda questions, k: [WRONG[error]]
        image.asearch = None
    search = JointSearch({"text": texts(), "image": image}, SCALE, failures=SKIP)
    with pytest.warns(MissingModalityWarning, match="the ranking is without modality 'image', whose source failed"):
        ranking = await ask(mode, search, minimum={"image": 2}, maximum={"text": 4})
    assert list(ranking) == list(JointSearch({"text": texts()}, SCALE).search(ASK, 4))
    assert list(ranking.missing) == ["image"]
    assert str(error) in ranking.missing["image"]
    with pytest.raises(SourceError, match=str(error)):
        await ask(mode, JointSearch({"text": texts(), "image": image}, SCALE))


@pytest.mark.parametrize("mode", MODES)
async def test_every_ranking_of_a_batch_says_what_is_missing_with_one_warning(mode: str) -> None:
    image = FakeFailing(ConnectionError("refused"), always=True)
    search = JointSearch({"text": texts(), "image": image}, SCALE, failures=SKIP)
    questions = [Question(vector=row) for row in ROWS]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batch = await search.asearch_batch(questions, 2) if mode == "async" else search.search_batch(questions, 2)
    assert [w.category for w in caught] == [MissingModalityWarning]
    assert caught[0].filename == __file__
    assert [list(ranking.missing) for ranking in batch] == [["image"]] * len(questions)


@pytest.mark.parametrize("mode", MODES)
async def test_if_everything_fails_it_raises(mode: str) -> None:
    down = {m: FakeFailing(ConnectionError(f"{m} refused"), always=True) for m in ("text", "image")}
    with pytest.raises(
        SourceUnavailableError, match=r"none of the 2 modalities.*text refused.*image refused"
    ) as caught:
        await ask(mode, JointSearch(down, SCALE, failures=SKIP))
    assert isinstance(caught.value.__cause__, SourceUnavailableError)
    with pytest.raises(SourceUnavailableError, match="FakeFailing of modality 'text' cannot be searched"):
        await ask(mode, JointSearch({"text": down["text"]}, SCALE, failures=SKIP))


@pytest.mark.parametrize("mode", MODES)
async def test_calibrating_never_skips_and_keeps_the_calibration_in_use(mode: str) -> None:
    questions = [Question(vector=row) for row in unit_rows(np.random.default_rng(1), 40, 4)]
    image = FakeFailing(ConnectionError("refused"), ConnectionError("refused"))
    search = JointSearch({"text": texts(), "image": image}, SCALE, failures=SKIP)
    with pytest.raises(SourceUnavailableError, match="modality 'image' cannot be searched: ConnectionError: refused"):
        await calibrate(mode, search, questions)
    assert search.calibration is SCALE
    with pytest.raises(SourceUnavailableError):
        QuestionBank.fit(questions, search.sources, failures=SKIP)
    expected = JointSearch({"text": texts(), "image": images()}).calibrate(questions, method="standardized")
    assert await calibrate(mode, search, questions) == search.calibration == expected
    assert image.calls[-1] == (40, 1)


async def test_when_one_source_fails_the_other_is_cancelled_and_awaited() -> None:
    waiting, failing = FakeServed(), FakeServed(ConnectionError("refused"))
    with pytest.raises(SourceUnavailableError, match="modality 'image'"):
        await JointSearch({"text": waiting, "image": failing}, SCALE).asearch(ASK, 4)
    assert (waiting.cancelled, waiting.ended) == (1, 1)


async def test_cancelling_the_caller_cancels_its_sources() -> None:
    waiting = FakeServed()
    task = asyncio.ensure_future(
        JointSearch({"text": waiting}, SCALE, failures=FailurePolicy(timeout=30)).asearch(ASK, 1)
    )
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (waiting.cancelled, waiting.ended) == (1, 1)


@pytest.mark.parametrize("timeout", [None, 30.0])
async def test_the_event_loop_keeps_turning_while_a_source_is_slow(timeout: float | None) -> None:
    slow = FakeHanging()
    search = JointSearch({"text": texts(), "image": slow}, SCALE, failures=FailurePolicy(timeout=timeout))
    task = asyncio.ensure_future(search.asearch(ASK, 4))
    # The source answers only after the loop has turned: were the loop blocked, it would never be let go.
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    slow.go.set()
    assert len(await task) == 4


async def test_large_batches_are_ranked_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    rank_all = search_module.rank_all

    def watched(*args: Any) -> list[Ranking]:
        threads.append(threading.current_thread())
        return rank_all(*args)

    monkeypatch.setattr(search_module, "rank_all", watched)
    search = JointSearch({"text": texts(), "image": images()}, SCALE)
    questions = [Question(vector=row) for row in unit_rows(np.random.default_rng(1), ON_LOOP + 1, 4)]
    assert await search.asearch_batch(questions, 3) == search.search_batch(questions, 3)
    await search.asearch_batch(questions[:ON_LOOP], 3)
    here = threading.current_thread()
    assert [thread is here for thread in threads] == [False, True, True]


def fake_error(module: str, name: str, *bases: type, **attributes: Any) -> Exception:
    """An error whose class has the name and place of a client's; the real ones are in the tests of stores."""
    made: type[Exception] = type(name, bases or (Exception,), {"__module__": module, **attributes})
    return made("from a client")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(111), True),
        (TimeoutError(), True),
        (asyncio.TimeoutError(), True),
        (OSError(113, "no route to host"), True),
        (FileNotFoundError(2), False),
        (ValueError("of no known kind"), False),
        (InvalidInputError("ours"), False),
        (KeyboardInterrupt(), False),
        (fake_error("httpx", "TransportError"), True),
        (fake_error("requests.exceptions", "RequestException", OSError), False),
        (fake_error("qdrant_client.http.exceptions", "ResponseHandlingException"), True),
        (fake_error("client", "Wrong", status_code=404), False),
        (fake_error("client", "Busy", status_code=503), True),
        (fake_error("grpc", "RpcError", code=lambda self: type("Code", (), {"name": "UNAVAILABLE"})), True),
        (fake_error("grpc", "RpcError", code=lambda self: type("Code", (), {"name": "INVALID_ARGUMENT"})), False),
        (caused(RuntimeError("wrapped"), ConnectionError()), True),
        (caused(RuntimeError("wrapped"), KeyError("x")), False),
        (caused(TypeError("a bug while handling it"), ConnectionError()), False),
        (caused(RuntimeError("wrapped"), InvalidInputError("ours")), False),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, BaseException) else str(value),
)
def test_which_errors_pass(error: BaseException, expected: bool) -> None:
    assert is_passing(error) is expected


def test_an_error_that_causes_itself_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert not is_passing(one)


def test_every_error_of_python_in_the_table_exists() -> None:
    for name in PASSING:
        package, _, cls = name.partition(".")
        if package == "builtins":
            assert issubclass(
                __builtins__[cls] if isinstance(__builtins__, dict) else getattr(__builtins__, cls), Exception
            )


class FakeTable:
    """A database's table that answers what it is told to."""

    score_kind = "cosine"
    trusted = False
    dimension = 4

    def __init__(self, *found: Found) -> None:
        self.found = list(found)

    def search(self, rows: Any, k: int, with_vectors: bool) -> list[Found]:
        return self.found


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1, 0, 0, 0], [0, 0, 0, 0]], r"vector of document 'b' \(modality 'image'\) is null or not finite"),
        ([[1, 0, 0, 0], [np.inf, 0, 0, 0]], r"vector of document 'b' \(modality 'image'\) is null or not finite"),
        ([[1, 0, 0, 0], None], r"vector of document 'b' \(modality 'image'\) is missing, where others have 4 numbers"),
        (
            [[1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]],
            r"document 'a' \(modality 'image'\) is of length 3, where others have 4",
        ),
        ([[1, 0, 0], [0, 1, 0]], "vectors of modality 'image' cannot be compared with the question"),
        (None, "returned hits without their vectors"),
        ([None, None], "returned hits without their vectors"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
async def test_stored_vectors_that_cannot_be_used(mode: str, vectors: Any, message: str) -> None:
    ids = list("abc")[: 2 if vectors is None else len(vectors)]
    source = TableSource(
        FakeTable(Found(ids, [0.1] * len(ids), ids, vectors)), "image", lambda i, payload: (i, payload)
    )
    with pytest.raises(SourceError, match=message):
        await ask(mode, JointSearch({"image": source}, SCALE, check=False))
    with pytest.warns(MissingModalityWarning, match=message):
        ranking = await ask(mode, JointSearch({"text": texts(), "image": source}, SCALE, failures=SKIP, check=False))
    assert list(ranking.missing) == ["image"]


def test_a_store_that_is_set_up_wrongly_is_never_passed_over() -> None:
    wrong = FakeFailing(StoreCheckError("inverted"), always=True)
    with pytest.raises(StoreCheckError, match="inverted"):
        JointSearch({"text": texts(), "image": wrong}, SCALE, failures=SKIP).search(ASK, 1)


def test_a_table_that_answers_too_few_questions_is_named() -> None:
    source = TableSource(FakeTable(), "image", lambda i, payload: (i, payload), store_name="SomeStore")
    with pytest.raises(SourceError, match="the SomeStore answered 0 of 1 questions"):
        JointSearch({"image": source}, SCALE, check=False).search(ASK, 1)


def test_the_dimension_of_a_table_whose_server_is_down_is_not_known() -> None:
    class Down(FakeTable):
        error: Exception = ConnectionError("refused")

        @property
        def dimension(self) -> int:  # type: ignore[override]
            raise self.error

    table = Down()
    source = TableSource(table, "image", lambda i, payload: (i, payload), remote=True)
    assert source.dimension is None
    table.error = KeyError("a bug")
    with pytest.raises(KeyError, match="a bug"):
        _ = source.dimension


def test_fewer_hits_than_asked_are_no_failure() -> None:
    ranking = JointSearch({"text": texts(), "image": images()}, SCALE, failures=SKIP).search(ASK, 100)
    assert len(ranking) == 12
    assert ranking.missing == {}
    assert hash(ranking) == hash(Ranking(ranking.hits))
