"""What goes wrong is told in a sentence, and the page goes on."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app_world import FakeAnswerer, Page, open_world, served, write_index
from commonscale.answering import ChatModelAnswerer, Limits
from commonscale.app import Handlers, Library, Patience
from commonscale.core.errors import AnswererError
from commonscale.encoders import BatchedEncoder
from tiny_models import save_tiny_clip

pytestmark = [
    pytest.mark.filterwarnings("ignore::commonscale.core.errors.SkippedImageWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]


def test_a_model_that_cannot_be_reached_or_breaks_off(
    page: Page, library: Library, answerer: FakeAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langchain_openai")
    unreachable = ChatModelAnswerer.from_name(
        "openai:gpt-test", base_url="http://127.0.0.1:9/v1", api_key="sk-secret", limits=Limits(first=10, total=10)
    )
    monkeypatch.setattr(library, "answerer", unreachable)
    page.ask("Where is the moon?")
    assert "No answer" in page.words("#live .error")[0]
    assert "openai:gpt-test cannot be reached at 'http://127.0.0.1:9/v1'" in page.words("#live .error")[0]
    assert "sk-secret" not in page.tab.content()
    assert page.words(".scaled .card")
    monkeypatch.setattr(library, "answerer", answerer)
    answerer.error = AnswererError("the connection broke off")
    page.ask("Where is the sun?")
    assert page.words("#live .error") == ["The answer broke off\n\nThe connection broke off."]
    answerer.error = RuntimeError("something with /secret/paths in it")
    page.ask("Where is the star?")
    assert "whose log has the details" in page.words("#live .error")[0]
    assert "/secret/paths" not in page.tab.content()
    answerer.error = None
    page.ask("Where are the fish?")
    assert "Where are the fish?" in page.words("#live .prose")[0]
    assert len(page.words("#thread .error")) == 3


def test_a_slow_model_is_told_of_and_holds_up_nobody(visit: Callable[..., Page], answerer: FakeAnswerer) -> None:
    slow, quick = visit(), visit()
    answerer.gate = gate = threading.Event()
    slow.begin("A slow question?")
    slow.tab.wait_for_selector(".prose >> text=You")
    slow.tab.wait_for_selector("#live .note >> text=has not answered yet")
    answerer.gate = None
    quick.ask("A quick question?")
    assert "quick" in quick.words("#live .prose")[0]
    assert slow.tab.locator("#live [aria-busy=true]").count() == 1
    gate.set()
    slow.finished("slow")
    assert slow.words("#live .note") == []


def test_a_model_that_never_answers_is_given_up(
    visit: Callable[..., Page], world: Path, answerer: FakeAnswerer
) -> None:
    answerer.gate = gate = threading.Event()

    class Hasty(Handlers):
        def ask(self, question: str, *others: Any) -> Iterator[dict[str, Any]]:
            self.patience = Patience(0.1, 0.5) if "moon" in question else Patience()
            yield from super().ask(question, *others)

    with served(open_world(world, answerer), handlers=Hasty) as url:
        page = visit(url)
        page.ask("Where is the moon?")
        assert "Nothing has come from the language model" in page.words("#live .error")[0]
        gate.set()
        answerer.gate = None
        page.ask("Where is the sun?")
        assert page.words("#live .error") == []


def test_a_lost_connection_is_found_again(page: Page, answerer: FakeAnswerer) -> None:
    answerer.gate = threading.Event()
    page.begin("Where is the moon?")
    page.tab.wait_for_selector(".prose >> text=You")
    page.tab.evaluate("window.old = true")
    page.context.set_offline(True)
    # Chromium goes on with what it has already begun to read, so the server ends the stream itself.
    answerer.gate.set()
    page.tab.locator("#stop").click()
    page.context.set_offline(False)
    page.tab.wait_for_function("!window.old && document.querySelector('#question textarea')")
    page.ask("Where is the sun?")
    assert "Where is the sun?" in page.words("#live .prose")[0]


def test_a_question_whose_answer_cannot_be_shown_is_followed_by_others(
    visit: Callable[..., Page], library: Library, answerer: FakeAnswerer
) -> None:
    class Broken(Handlers):
        def ask(self, question: str, *others: Any) -> Iterator[dict[str, Any]]:
            for number, changes in enumerate(super().ask(question, *others)):
                if number == 1 and "moon" in question:
                    raise gradio.Error("broken", print_exception=False)
                yield changes

    gradio = pytest.importorskip("gradio")
    with served(library, handlers=Broken) as url:
        page = visit(url)
        page.begin("Where is the moon?")
        page.tab.wait_for_selector("text=broken")
        page.tab.wait_for_selector("#send", state="visible")
        page.ask("Where is the sun?")
        assert "Where is the sun?" in page.words("#live .prose")[0]


def test_halves_of_characters_are_shown_as_question_marks(page: Page, answerer: FakeAnswerer) -> None:
    answerer.words = lambda question: "Seen \ud83d [1]"
    page.ask("Where is the moon?")
    assert page.words("#live .prose") == ["Seen ? 1"]


def test_controls_work_while_the_line_is_full(
    visit: Callable[..., Page], library: Library, answerer: FakeAnswerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonscale.app.page.QUEUED", 1)
    answerer.gate = threading.Event()
    with served(library, parallel=1) as url:
        first, second, third = visit(url), visit(url), visit(url)
        first.begin("Where is the moon?")
        first.tab.wait_for_selector(".prose >> text=You")
        with second.tab.expect_response("**/queue/join*"):
            second.begin("Where is the sun?")  # waits in line
        third.begin("Where is the sea?")
        third.tab.wait_for_selector("text=busy")
        first.tab.get_by_role("button", name="Stop").click()
        first.tab.wait_for_selector("#live .note >> text=Stopped.")
        answerer.gate.set()
        second.finished("sun")


def test_without_calibration_and_without_a_model_it_ranks_by_raw_cosine(
    visit: Callable[..., Page], tmp_path: Path, encoder: BatchedEncoder, questions: list[str]
) -> None:
    write_index(tmp_path, encoder, pictures=4, passages=6)
    with served(open_world(tmp_path, None), saving=True) as url:
        page = visit(url)
        assert "not calibrated" in page.words("#problems")[0]
        assert f"commonscale calibrate {tmp_path / 'index'}" in page.words("#problems")[0]
        page.ask("Where is the moon?")
        assert "No language model is connected" in page.words("#live .note")[0]
        assert page.tab.locator(".rankings.only-raw .card").count() == 10
        assert page.tab.locator(".ranking.scaled").count() == 0
        page.open_tab("Scale")
        page.tab.wait_for_selector(".scale >> text=no common scale yet")
        page.tab.fill("#pasted textarea", "\n".join(questions))
        page.tab.get_by_role("button", name="Recalibrate for everybody").click()
        page.tab.wait_for_selector("#progress >> text=in use by everybody")
        page.open_tab("Documents")
        page.tab.wait_for_function("document.querySelectorAll('.ranking.scaled .card').length === 10")
        assert page.words("#problems") == [""]
        other = visit(url)
        other.ask("Where is the moon?")
        assert other.tab.locator(".ranking.scaled .card").count() == 10
    assert open_world(tmp_path, None).joint.calibration is not None


def test_another_encoder_or_scale_is_told_of(
    visit: Callable[..., Page], world: Path, answerer: FakeAnswerer, tmp_path: Path
) -> None:
    from commonscale.app import open_library

    copied = tmp_path / "copied"
    shutil.copytree(world / "index", copied)
    (copied / "calibration.json").write_text("{}")
    other = save_tiny_clip(tmp_path / "clip")
    with served(open_library(copied, answerer, encoder=str(other), device="cpu")) as url:
        page = visit(url)
        told = page.words("#problems")[0]
        assert "Questions cannot be searched for" in told
        assert "is another one" in told
        assert "The calibration cannot be used" in told
        page.ask("Where is the moon?")
        assert "is another one" in page.words("#live .error")[0]
        page.open_tab("Scale")
        page.tab.wait_for_selector(".scale >> text=no common scale yet")
