"""What the page's events do to each other, called without a browser in the orders that a browser may choose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app_world import FakeAnswerer, calibrate, open_world, write_index
from commonscale.answering import QuestionAnswering
from commonscale.app import Handlers, Library
from commonscale.app.page import build_page
from commonscale.app.session import Session
from commonscale.core.calibration import Calibration
from commonscale.encoders import BatchedEncoder

gradio = pytest.importorskip("gradio")

pytestmark = pytest.mark.filterwarnings("ignore::commonscale.core.errors.SkippedImageWarning")

TEN = (10, False, 0, 30, 0, 30)
"""The controls as they stand on a new page."""

THREE = (3, *TEN[1:])


def asked(handlers: Handlers, session: Session, question: str = "Where are the cups?") -> dict[str, Any]:
    """Ask, and give what the page shows at the end."""
    shown: dict[str, Any] = {}
    for changes in handlers.ask(question, session, *TEN):
        shown |= changes
    return shown


def shown(changes: dict[str, Any]) -> int:
    """Count the documents in the list on the common scale."""
    return len(re.findall(r'id="hit-', changes["hits"]))


def test_an_earlier_question_does_not_take_stop_away_from_the_next(library: Library, answerer: FakeAnswerer) -> None:
    handlers, session = Handlers(library), Session()
    asked(handlers, session)
    assert handlers.settled(session, *TEN)["running"] is False
    following = handlers.ask("And the fish?", session, *TEN)
    assert next(following)["running"] is True
    late = handlers.settled(session, *TEN)
    assert late["running"] is True
    assert "hits" not in late
    list(following)
    assert handlers.settled(session, *TEN)["running"] is False


def test_stop_takes_a_page_back_that_was_left_behind(library: Library, answerer: FakeAnswerer) -> None:
    handlers, session = Handlers(library), Session()
    asked(handlers, session)
    assert handlers.stop(session) == {"running": False}


@pytest.mark.parametrize("again", [Handlers.stop, Handlers.clear])
def test_the_button_to_ask_stays_away_until_the_browser_takes_a_question(
    library: Library, answerer: FakeAnswerer, again: Callable[[Handlers, Session], dict[str, Any]]
) -> None:
    handlers, session = Handlers(library), Session()
    answering = handlers.ask("Where are the cups?", session, *TEN)
    assert next(answering)["running"] is True
    assert "running" not in again(handlers, session)
    assert "running" not in handlers.stop(session)
    assert handlers.settled(session, *TEN)["running"] is True  # of another event
    list(answering)
    assert handlers.settled(session, *TEN)["running"] is False
    assert handlers.stop(session) == {"running": False}


def test_a_page_that_is_left_in_the_middle_of_an_answer_waits_for_nothing(
    library: Library, answerer: FakeAnswerer
) -> None:
    handlers, session = Handlers(library), Session()
    answering = handlers.ask("Where are the cups?", session, *TEN)
    next(answering)
    answering.close()  # type: ignore[attr-defined]
    assert session.current is not None
    assert session.current.over
    assert handlers.settled(session, *TEN)["running"] is False


def test_a_ranking_says_by_which_scale_it_was_made_if_that_changes_meanwhile(
    library: Library, answerer: FakeAnswerer, questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers, session = Handlers(library), Session()
    asked(handlers, session)
    answering = Library.answering

    def late(self: Library, calibration: Calibration | None) -> QuestionAnswering:
        with monkeypatch.context() as undone:
            undone.setattr(Library, "answering", answering)
            list(handlers.recalibrate(session, "\n".join(questions[:40])))
        return answering(self, calibration)

    with monkeypatch.context() as changed:
        changed.setattr(Library, "answering", late)
        old = handlers.rank(session, *THREE)["hits"]
    settled = handlers.settled(session, *THREE)["hits"]
    assert settled != old
    assert settled == handlers.rank(session, *THREE)["hits"]


def test_an_empty_question_after_a_failed_one_is_told_of(library: Library, answerer: FakeAnswerer) -> None:
    handlers, session = Handlers(library), Session()
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Library, "answering", None)
        asked(handlers, session)
    assert session.current is not None
    assert session.current.rankings is None
    assert "Write a question first." in asked(handlers, session, " ")["notice"]
    assert "notice" not in handlers.settled(session, *THREE)


def test_a_new_scale_ranks_by_where_the_controls_are_now(
    library: Library, answerer: FakeAnswerer, questions: list[str]
) -> None:
    handlers, session = Handlers(library), Session()
    before = asked(handlers, session)
    assert shown(before) == 10
    assert handlers.settled(session, *TEN)["hits"] == before["hits"]
    list(handlers.recalibrate(session, "\n".join(questions[:40])))
    after = handlers.settled(session, *THREE)
    assert shown(after) == 3
    list(handlers.recalibrate(session, "\n".join(questions[20:])))
    again = handlers.settled(session, *THREE)
    assert shown(again) == 3
    assert again["hits"] != after["hits"]
    handlers.reset(session)
    assert handlers.settled(session, *TEN)["hits"] == before["hits"]


def test_a_scale_for_everybody_is_used_once_it_is_written(
    tmp_path: Path, encoder: BatchedEncoder, questions: list[str]
) -> None:
    write_index(tmp_path, encoder, pictures=4, passages=6)
    calibrate(tmp_path, encoder, questions)
    library = open_world(tmp_path, None)
    handlers = Handlers(library, saving=True)
    first = handlers.scale(Session())["scale"]
    assert "<strong>60</strong> unlabeled questions" in first
    steps = handlers.recalibrate_all(Session(), "\n".join(questions[:35]))
    assert isinstance(steps, Iterator)
    while "Counting scores" not in next(steps)["progress"]:
        pass
    steps.close()  # type: ignore[attr-defined]
    written = open_world(tmp_path, None).joint.calibration
    used = library.joint.calibration
    assert written is not None
    assert used is not None
    assert used.statistics("text") == written.statistics("text")
    second = handlers.scale(Session())["scale"]
    assert "<strong>35</strong> unlabeled questions" in second
    assert second.partition("<svg")[2] != first.partition("<svg")[2]


def test_past_exchanges_keep_no_pictures(library: Library, answerer: FakeAnswerer) -> None:
    handlers, session = Handlers(library), Session()
    asked(handlers, session)
    one = session.current
    assert one is not None
    assert one.prompt is not None
    assert any(sent.picture is not None for sent in one.prompt.sent)
    thread = asked(handlers, session, "And the fish?")["thread"]
    assert session.past == [one]
    assert one.answer is not None
    assert [sent.picture for sent in one.answer.prompt.sent] == [None] * len(one.prompt.sent)
    assert "You asked **Where are the cups?**" in one.answer.text
    assert "Where are the cups?" in thread


@pytest.mark.parametrize("name", ["settled", "ask", "recalibrate"])
async def test_a_conversation_is_forgotten_after_its_time(
    name: str, library: Library, answerer: FakeAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of a page that was closed before anything was settled."""
    monkeypatch.setattr("commonscale.app.page.SESSION_SECONDS", 0)
    blocks = build_page(Handlers(library))
    called = next(function for function in blocks.fns.values() if function.name == name)
    state = blocks.state_holder["somebody"]
    (number,) = (part._id for part in called.inputs if isinstance(part, gradio.State))
    session = state[number]
    given = {"settled": [None, *TEN], "ask": ["Where are the cups?", None, *TEN], "recalibrate": [None, "One?\nTwo?"]}
    await blocks.process_api(called, given[name], state=state)
    assert state.state_data[number] is session
    blocks.state_holder.delete_all_expired_state()
    assert number not in state.state_data
