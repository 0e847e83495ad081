from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from answering_world import FakeAnswerer, FakeCondenser, FakeEncoder, answering, search
from commonscale import Quotas
from commonscale.answering import (
    Answerer,
    AsyncAnswerer,
    Condenser,
    Finished,
    Found,
    Piece,
    QuestionAnswering,
    Request,
    Turn,
    index_item,
)
from commonscale.core.errors import AnswererError, InvalidInputError, NotCalibratedError
from commonscale.core.types import Hit
from commonscale.index import Document
from commonscale.prompting import Budget

TURN = Turn("what is red", "a bus [1]")


def test_an_answer_comes_in_steps() -> None:
    asked = answering()
    first, *pieces, last = asked.stream("what is red")
    assert isinstance(first, Found)
    assert first.question == "what is red"
    assert first.ranking.ids[0] == "bus"
    assert [sent.item.id for sent in first.prompt.sent] == first.ranking.ids
    assert [piece.text for piece in pieces if isinstance(piece, Piece)] == ["a red", " bus [1]"]
    assert isinstance(last, Finished)
    assert last.answer.text == "a red bus [1]"
    assert last.answer.citations.ids == ["bus"]
    assert last.answer.ranking is first.ranking
    assert last.answer.prompt is first.prompt


def test_the_answerer_gets_question_documents_and_history() -> None:
    answerer = FakeAnswerer()
    assert isinstance(answerer, Answerer)
    assert not isinstance(answerer, (AsyncAnswerer, Condenser))
    answering(answerer).ask("what is blue", [TURN])
    request = answerer.requests[0]
    assert (request.question, request.history) == ("what is blue", (TURN,))
    assert request.prompt.sent[0].item.id == "sea"
    assert request.prompt.sent[0].item.payload == Document("sea", "text", text="the blue sea")


def test_numbers_that_were_not_sent_are_told() -> None:
    found = answering(FakeAnswerer("it is [2] or [9]")).ask("what is red")
    assert found.citations.ids == [found.ranking.ids[1]]
    assert found.citations.unknown == (9,)


def test_search_follows_k_quotas_and_raw() -> None:
    asked = answering(k=4)
    assert len(asked.search("what is red")) == 4
    assert len(asked.search("what is red", k=1)) == 1
    assert asked.search("what is green", k=2, quotas=Quotas({"table": 1})).of("table")
    assert not asked.search("what is red", quotas=Quotas(maximum={"table": 0})).of("table")
    raw = asked.search("what is red", raw=True)
    assert [hit.score for hit in raw] == [hit.cosine for hit in raw]
    assert [hit.score for hit in asked.search("what is red")] != [hit.score for hit in raw]
    with pytest.raises(InvalidInputError, match="k must be"):
        asked.search("what is red", k=0)


def test_both_rankings_come_from_one_embedding() -> None:
    encoder = FakeEncoder()
    asked = QuestionAnswering(search(), encoder, FakeAnswerer())
    both = asked.rankings("what is red", k=3, quotas=Quotas(maximum={"table": 0}))
    assert encoder.asked == ["what is red"]
    assert both.raw == asked.search("what is red", k=3, quotas=Quotas(maximum={"table": 0}), raw=True)
    assert both.standardized == asked.search("what is red", k=3, quotas=Quotas(maximum={"table": 0}))


def test_without_calibration_only_raw_answers() -> None:
    asked = answering(calibrated=False)
    assert asked.rankings("what is red").standardized is None
    with pytest.raises(NotCalibratedError):
        asked.ask("what is red")
    assert asked.ask("what is red", raw=True).text == "a red bus [1]"


def test_a_calibration_that_is_swapped_in_serves_the_next_question() -> None:
    asked = answering(calibrated=False)
    asked.joint.calibration = search().calibration
    assert asked.rankings("what is red").standardized is not None


@pytest.mark.parametrize("question", ["", " \n", None, 3])
def test_an_empty_question_is_refused_before_anything_is_done(question: object) -> None:
    answerer = FakeCondenser()
    for run in (answering(answerer).ask, answering(answerer).search, answering(answerer).rankings):
        with pytest.raises(InvalidInputError, match="the question must be text that is not empty"):
            run(question)  # type: ignore[arg-type]
    assert not answerer.requests


def test_a_question_that_no_request_can_hold_is_refused_before_anything_is_done() -> None:
    answerer = FakeCondenser()
    for run in (answering(answerer).ask, answering(answerer).search, answering(answerer).rankings):
        with pytest.raises(InvalidInputError, match=r"'what is red \\ud800' is no valid Unicode .* 12\)"):
            run("what is red \ud800")
    assert not answerer.requests


def test_what_was_found_already_is_not_searched_again() -> None:
    encoder = FakeEncoder()
    asked = QuestionAnswering(search(), encoder, FakeAnswerer())
    ranking = asked.search("what is green")
    found = asked.ask("what is red", ranking=ranking)
    assert found.ranking is ranking
    assert encoder.asked == ["what is green"]


def test_a_budget_replaces_that_of_the_builder() -> None:
    found = answering().ask("what is red", budget=Budget(items=1))
    assert len(found.prompt.sent) == 1
    assert [left.reason.value for left in found.prompt.left_out] == ["items", "items"]
    assert not answering().ask("what is red").prompt.left_out


def test_a_follow_up_question_is_searched_for_by_itself() -> None:
    answerer = FakeCondenser()
    first, *_ = answering(answerer).stream("and its color?", [TURN])
    assert isinstance(first, Found)
    assert first.question == "and its color? what is red"
    assert first.ranking.ids[0] == "bus"
    answering(answerer).ask("and its color?", [TURN])
    assert answerer.requests[0].question == "and its color?"


def test_nothing_is_condensed_without_need() -> None:
    asked = answering(FakeCondenser())
    assert asked.standalone("what is red", []) == "what is red"
    assert answering().standalone("and its color?", [TURN]) == "and its color?"


def test_a_condenser_without_words_leaves_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCondenser, "condense", lambda *_: "  ")
    assert answering(FakeCondenser()).standalone("what is red", [TURN]) == "what is red"


def test_who_stops_early_closes_the_answer() -> None:
    answerer = FakeAnswerer()
    events = answering(answerer).stream("what is red")
    assert isinstance(next(events), Found)
    assert isinstance(next(events), Piece)
    events.close()  # type: ignore[attr-defined]
    assert answerer.closed == 1


def test_an_error_of_the_answerer_comes_through() -> None:
    def broken() -> None:
        raise AnswererError("out of words")

    with pytest.raises(AnswererError, match="out of words"):
        answering(FakeAnswerer(before=broken)).ask("what is red")


async def test_asynchronous_answers_are_the_same() -> None:
    answerer = FakeCondenser()
    asked = answering(answerer)
    events = [event async for event in asked.astream("and its color?", [TURN], k=2, budget=Budget(items=1))]
    assert [type(event) for event in events] == [Found, Piece, Piece, Finished]
    same = asked.ask("and its color?", [TURN], k=2, budget=Budget(items=1))
    other = await asked.aask("and its color?", [TURN], k=2, budget=Budget(items=1))
    assert (other.text, other.ranking, other.citations.ids) == (same.text, same.ranking, same.citations.ids)
    assert answerer.closed == 3
    with pytest.raises(InvalidInputError, match="the question must be text"):
        await asked.aask(" ")


async def test_the_event_loop_goes_on_while_an_answerer_blocks() -> None:
    go = threading.Event()
    answerer = FakeAnswerer(before=lambda: go.wait(30))

    async def free() -> None:
        while not answerer.requests:
            await asyncio.sleep(0)
        go.set()

    found, _ = await asyncio.gather(answering(answerer).aask("what is red"), free())
    assert found.text == "a red bus [1]"


async def test_a_cancelled_question_closes_its_answer_as_soon_as_it_can() -> None:
    go = threading.Event()
    answerer = FakeAnswerer(before=lambda: go.wait(30))
    task = asyncio.ensure_future(answering(answerer).aask("what is red"))
    while not answerer.requests:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answerer.closed == 0
    go.set()
    while not answerer.closed:
        await asyncio.sleep(0)


async def test_an_asynchronous_answerer_needs_no_thread() -> None:
    class Native(FakeAnswerer):
        threads: tuple[str, ...] = ()

        async def astream(self, request: Request) -> AsyncIterator[str]:
            self.requests.append(request)
            self.threads = (threading.current_thread().name,)
            yield "at once [1]"

    answerer = Native()
    assert isinstance(answerer, AsyncAnswerer)
    found = await answering(answerer).aask("what is red")
    assert found.text == "at once [1]"
    assert answerer.threads == (threading.current_thread().name,)


async def test_many_questions_at_once_do_not_mix() -> None:
    asked = answering(k=1)
    colors = ["red", "blue", "green"] * 10
    found = await asyncio.gather(*(asked.aask(f"what is {color}") for color in colors))
    ids = {"red": "bus", "blue": "sea", "green": "tree"}
    assert [answer.citations.ids for answer in found] == [[ids[color]] for color in colors]


def test_pictures_are_told_by_modality_or_by_their_name() -> None:
    def item(document: Document) -> Path | None:
        return index_item(Hit(document.id, document.modality, 0.5, 1.5, document)).picture  # type: ignore[return-value]

    assert item(Document("a", "image", path="a.dat")) == Path("a.dat")
    assert item(Document("a", "table", path="a.PNG")) == Path("a.PNG")
    assert item(Document("a", "text", text="words", path="a.txt")) is None
    assert item(Document("a", "image")) is None
    made = index_item(Hit("a", "text", 0.5, 1.5, Document("a", "text", text="words")))
    assert (made.id, made.text, made.cosine, made.score) == ("a", "words", 0.5, 1.5)


def test_hits_of_another_kind_need_another_function() -> None:
    with pytest.raises(InvalidInputError, match=r"documents of an index, got dict for hit 'a'.*to_item"):
        index_item(Hit("a", "text", 0.5, 1.5, {}))
