"""What the page's events do to each other, called without a browser in the orders that a browser may choose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app_world import FakeAnswerer, calibrate, open_world, write_index
from commonscale.app import Handlers, Library
from commonscale.app.page import build_page
from commonscale.app.session import Session
from commonscale.encoders import BatchedEncoder

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


async def test_a_conversation_is_forgotten_after_its_time(
    library: Library, answerer: FakeAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonscale.app.page.SESSION_SECONDS", 0)
    blocks = build_page(Handlers(library))
    settled = next(function for function in blocks.fns.values() if function.name == "settled")
    state = blocks.state_holder["somebody"]
    session = state[settled.inputs[0]._id]
    await blocks.process_api(settled, [None, *TEN], state=state)
    assert state.state_data[settled.inputs[0]._id] is session
    blocks.state_holder.delete_all_expired_state()
    assert settled.inputs[0]._id not in state.state_data
