"""The check before a source is searched for the first time, and verifying on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from commonscale import JointSearch, Question, Ranking
from commonscale.core.errors import MissingModalityWarning, SourceError, SourceUnavailableError, StoreCheckError
from commonscale.core.failures import FailurePolicy
from commonscale.core.types import Candidates, Probe
from commonscale.core.verification import FirstUse
from sources import ArraySource, unit_rows

D = 8
VECTORS = unit_rows(np.random.default_rng(0), 30, D)
QUESTIONS = [Question(f"q{i}", row) for i, row in enumerate(unit_rows(np.random.default_rng(1), 40, D))]


class Probed(ArraySource):
    """A fake store whose numbers are the cosines, or a function of them, read as cosines."""

    dimension: int | None = D

    def __init__(self, vectors: Any = VECTORS, modality: str = "text", number: Any = lambda c: c) -> None:
        super().__init__([f"{modality}{i}" for i in range(len(vectors))], vectors, modality)
        self.number = number
        self.probed: list[tuple[int, int]] = []
        self.threads: set[int] = set()

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        self.probed.append((len(questions), k))
        self.threads.add(threading.get_ident())
        found = ArraySource(self.ids, self.vectors, self.modality).search(questions, k)
        return [Probe(f.ids, self.number(f.cosines), self.vectors[self._rows(f.ids)], "cosine") for f in found]

    def _rows(self, ids: Sequence[str]) -> list[int]:
        return [self.ids.index(i) for i in ids]


class Native(Probed):
    """The same with an asynchronous search of its own."""

    async def asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        return self.search(questions, k)


async def ask(mode: str, search: JointSearch, question: Question) -> Ranking:
    if mode == "sync":
        return search.search(question, 3, raw=True)
    return await search.asearch(question, 3, raw=True)


def inverted(cosines: Any) -> Any:
    return 1 - cosines


def test_a_good_source_is_checked_once_and_cheaply() -> None:
    source = Probed()
    search = JointSearch({"text": source})
    search.calibrate(QUESTIONS, method="standardized")
    assert source.probed == [(2, 10), (4, 10)]
    search.search(QUESTIONS[0], 5)
    search.search_batch(QUESTIONS, 5)
    assert len(source.probed) == 2
    assert source.threads == {threading.get_ident()}


@pytest.mark.parametrize("how", ["calibrate", "search", "search_batch"])
def test_an_error_is_raised_before_the_first_search_with_the_report(how: str) -> None:
    source = Probed(number=inverted)
    search = JointSearch({"image": ArraySource(["a"], VECTORS[:1], "image"), "text": source})
    do = {
        "calibrate": lambda: search.calibrate(QUESTIONS, method="standardized"),
        "search": lambda: search.search(QUESTIONS[0], 3, raw=True),
        "search_batch": lambda: search.search_batch(QUESTIONS, 3, raw=True),
    }[how]
    with pytest.raises(StoreCheckError, match=r"store of modality 'text'[\s\S]*check=False[\s\S]*error \(inverted\)"):
        do()
    assert source.calls == []
    # It stays an error until the store is mended.
    with pytest.raises(StoreCheckError):
        do()
    source.number = lambda c: c
    do()


async def test_the_asynchronous_searches_check_off_the_event_loop() -> None:
    for source in (Probed(), Native()):
        search = JointSearch({"text": source})
        await search.acalibrate(QUESTIONS, method="standardized")
        await search.asearch(QUESTIONS[0], 3)
        assert len(source.probed) == 2
        assert threading.get_ident() not in source.threads
        wrong = JointSearch({"text": type(source)(number=inverted)})
        with pytest.raises(StoreCheckError):
            await wrong.asearch(QUESTIONS[0], 3, raw=True)


def test_without_checking_nothing_is_probed() -> None:
    source = Probed(number=inverted)
    search = JointSearch({"text": source}, check=False)
    assert len(search.search(QUESTIONS[0], 3, raw=True)) == 3
    assert source.probed == []
    assert not search.verify().ok


def test_sources_that_need_no_check_are_not_probed_before_but_on_demand() -> None:
    class Exhaustive(Probed):
        needs_check = False

    source = Exhaustive()
    search = JointSearch({"text": source, "image": ArraySource(["a"], VECTORS[:1], "image")})
    search.search(QUESTIONS[0], 3, raw=True)
    assert source.probed == []
    report = search.verify(QUESTIONS[:1])
    assert report.ok
    assert source.probed == [(8, 20), (24, 20)]
    assert report["text"].pairs == 32 * 20
    assert report["image"].unchecked is not None
    assert str(report) == f"{report['text']}\n{report['image']}"


@pytest.mark.parametrize("attribute", ["unbounded", "by_text"])
def test_scores_of_other_kinds_are_not_checked(attribute: str) -> None:
    source = Probed(number=inverted)
    setattr(source, attribute, True)
    JointSearch({"text": source}).search(QUESTIONS[0], 3, raw=True)
    assert source.probed == []


def test_a_source_of_unknown_dimension_says_so_until_a_question_tells() -> None:
    source = Probed()
    source.dimension = None
    search = JointSearch({"text": source})
    assert "dimension of the vectors of Probed is not known" in str(search.verify())
    assert search.verify(QUESTIONS[:1])["text"].pairs == 32 * 20


def test_a_store_that_was_empty_is_checked_when_it_is_not() -> None:
    source = Probed(vectors=np.empty((0, D), np.float32), number=inverted)
    search = JointSearch({"text": source})
    assert len(search.search(QUESTIONS[0], 3, raw=True)) == 0
    source.ids, source.vectors = ["a", "b", "c"], VECTORS[:3]
    with pytest.raises(StoreCheckError):
        search.search(QUESTIONS[0], 3, raw=True)


def test_a_question_of_another_dimension_is_named_as_it_is_without_a_check() -> None:
    class Strict(Probed):
        def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
            if len(questions[0].vector_for("text")) != D:
                raise ValueError(f"{questions[0].text}: wrong dimension")
            return super().probe(questions, k)

    with pytest.raises(ValueError, match="what a user asked: wrong dimension"):
        JointSearch({"text": Strict()}).search(Question("what a user asked", np.ones(3, np.float32)), 3, raw=True)


def test_many_threads_check_once() -> None:
    source = Probed()
    search = JointSearch({"text": source})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda q: search.search(q, 3, raw=True).ids, QUESTIONS))
    assert found == [search.search(q, 3, raw=True).ids for q in QUESTIONS]
    assert len(source.probed) == 2


def test_searches_over_the_same_sources_share_their_checks() -> None:
    source, shared = Probed(), FirstUse()
    for _ in range(2):
        JointSearch({"text": source}, check=shared).search(QUESTIONS[0], 3, raw=True)
    assert len(source.probed) == 2


def test_a_store_that_is_set_up_wrongly_is_not_skipped() -> None:
    sources = {"text": Probed(), "image": Probed(modality="image", number=inverted)}
    search = JointSearch(sources, failures=FailurePolicy(on_failure="skip"))
    with pytest.raises(StoreCheckError, match="inverted"):
        search.search(QUESTIONS[0], 3, raw=True)


def test_a_store_that_is_down_at_its_check_fails_as_at_its_search() -> None:
    class Down(Probed):
        def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
            raise ConnectionRefusedError("nobody there")

    search = JointSearch({"text": Probed(), "image": Down(modality="image")}, failures=FailurePolicy(on_failure="skip"))
    with pytest.warns(MissingModalityWarning, match="nobody there"):
        ranking = search.search(QUESTIONS[0], 3, raw=True)
    assert {hit.modality for hit in ranking} == {"text"}


async def test_verifying_is_also_asynchronous() -> None:
    source = Probed(number=inverted)
    report = await JointSearch({"text": source}, check=False).averify(QUESTIONS[:1])
    assert not report.ok
    assert threading.get_ident() not in source.threads


class Versioned(Probed):
    """A fake store with settings, which are known for a while only."""

    version: Any = None
    settings = "cosine"

    def read_version(self) -> str:
        self.version = self.settings
        return self.settings


def test_a_store_that_is_set_up_anew_is_checked_again_and_only_then() -> None:
    source = Versioned()
    search = JointSearch({"text": source})
    search.search(QUESTIONS[0], 3, raw=True)
    assert len(source.probed) == 2
    source.version = None
    search.search(QUESTIONS[0], 3, raw=True)
    assert (len(source.probed), source.version) == (2, "cosine")
    source.version, source.settings, source.number = None, "dot", inverted
    for _ in range(2):
        with pytest.raises(StoreCheckError, match="inverted"):
            search.search(QUESTIONS[0], 3, raw=True)
    source.number = lambda c: c
    search.search(QUESTIONS[0], 3, raw=True)
    probed = len(source.probed)
    search.search(QUESTIONS[0], 3, raw=True)
    assert len(source.probed) == probed


async def test_settings_that_are_not_known_are_read_off_the_event_loop() -> None:
    class Watched(Versioned):
        readers: tuple[int, ...] = ()

        def read_version(self) -> str:
            self.readers = (*self.readers, threading.get_ident())
            return super().read_version()

    source = Watched()
    search = JointSearch({"text": source})
    for _ in range(2):
        source.version = None
        await search.asearch(QUESTIONS[0], 3, raw=True)
    assert len(source.readers) == 2
    assert threading.get_ident() not in source.readers
    assert len(source.probed) == 2


@pytest.mark.parametrize("mode", ["sync", "async", "native"])
async def test_a_store_that_stays_empty_is_probed_once(mode: str) -> None:
    empty = (Native if mode == "native" else Probed)(np.empty((0, D), np.float32), "image", inverted)
    full = Probed()
    search = JointSearch({"text": full, "image": empty})
    for question in QUESTIONS[:10]:
        assert len(await ask(mode, search, question)) == 3
    assert (len(full.probed), len(empty.probed)) == (2, 1)
    assert len(full.calls) == len(empty.calls) == 10
    # What it finds later is checked before it is returned.
    empty.ids, empty.vectors = ["a", "b", "c"], VECTORS[:3]
    with pytest.raises(StoreCheckError, match="inverted"):
        await ask(mode, search, QUESTIONS[0])


def test_an_empty_store_that_breaks_its_contract_later_is_named() -> None:
    class Broken(Probed):
        def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
            return super().search(questions, k) if not self.calls else []

    search = JointSearch({"text": Broken(np.empty((0, D), np.float32))})
    search.search(QUESTIONS[0], 3, raw=True)
    with pytest.raises(SourceError, match="0 of 1"):
        search.search(QUESTIONS[0], 3, raw=True)


class Hanging(Probed):
    """A fake store whose first probe does not return before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.asked_in: list[threading.Thread] = []

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        self.asked_in.append(threading.current_thread())
        if not self.go.wait(60):
            raise AssertionError("nobody let the probe go")
        return super().probe(questions, k)


class HangingNative(Hanging):
    asearch = Native.asearch


@pytest.mark.parametrize("mode", ["sync", "async", "native"])
async def test_those_that_wait_for_a_check_that_hangs_give_up(mode: str) -> None:
    source = HangingNative() if mode == "native" else Hanging()
    before = set(threading.enumerate())
    search = JointSearch({"text": source}, failures=FailurePolicy(timeout=0.02, attempts=2, backoff=0))
    try:
        for question in QUESTIONS[:10]:
            with pytest.raises(SourceUnavailableError, match=r"no answer within 0\.02 s"):
                await ask(mode, search, question)
        assert len(source.asked_in) == 1
        waiting = set(threading.enumerate()) - before - set(source.asked_in)
        for thread in waiting:
            thread.join(10)
        assert not [thread for thread in waiting if thread.is_alive()]
    finally:
        source.go.set()
    source.asked_in[0].join(30)
    # The check that was begun is good for all, and nobody waited for the searches.
    assert source.probed == [(2, 10), (4, 10)]
    assert source.calls == []
    patient = JointSearch({"text": source}, check=search._first_use)
    assert len(await ask(mode, patient, QUESTIONS[0])) == 3
    assert len(source.probed) == 2


async def test_a_check_that_fails_is_made_by_the_next_that_waits() -> None:
    class Mended(HangingNative):
        def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
            first = not self.asked_in
            found = super().probe(questions, k)
            if first:
                raise ConnectionRefusedError("just once")
            return found

    source = Mended()
    search = JointSearch({"text": source})
    first = asyncio.ensure_future(search.asearch(QUESTIONS[0], 3, raw=True))
    while not source.asked_in:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(search.asearch(QUESTIONS[0], 3, raw=True))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not second.done()
    source.go.set()
    with pytest.raises(SourceUnavailableError, match="just once"):
        await first
    assert len(await second) == 3
