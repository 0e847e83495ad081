"""The chat page in a real browser: ask, stream, cite, compare, move quotas, recalibrate, by keyboard and by phone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app_world import FakeAnswerer, Page, served
from commonscale.app import Handlers, Library
from commonscale.app.session import Session

pytestmark = [
    # A document of the index lies where pictures may not be read from; the page says so.
    pytest.mark.filterwarnings("ignore::commonscale.core.errors.SkippedImageWarning"),
    # Gradio counts its own events with pandas.
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

QUESTION = "What place has four blue umbrellas above three purple fish?"

BARS = """() => {
  window.bars = [];
  const look = () => document.querySelectorAll('#progress progress').forEach(bar => window.bars.push(bar.value));
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
}"""

CONTRASTS = """() => {
  const channel = value => { value /= 255; return value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; };
  const parse = color => { const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
    const pen = canvas.getContext('2d', {willReadFrequently: true}); pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data; return [r, g, b, a]; };
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const behind = element => { for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor); if (color[3] > 250) return color; }
    return [255, 255, 255, 255]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
    if (!words || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest('script, style, noscript, .unseen')) continue;
    const svg = element.closest('svg');
    const ink = parse(svg ? getComputedStyle(element).fill : getComputedStyle(element).color);
    const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), words.slice(0, 40), element.className.toString()]);
  }
  const box = document.querySelector('#question textarea');
  const [a, b] = [light(parse(getComputedStyle(box, '::placeholder').color)), light(behind(box))].sort((x, y) => y - x);
  found.push([(a + .05) / (b + .05), 'placeholder', '']);
  return found;
}"""


def test_an_answer_streams_and_its_citations_lead_to_the_documents(page: Page, answerer: FakeAnswerer) -> None:
    answerer.gate = threading.Event()
    page.begin(QUESTION)
    page.tab.wait_for_selector(".prose >> text=You")  # the first piece is there while the second one waits
    assert page.tab.locator(".answer[aria-busy=true]").count() == 1
    assert page.tab.locator("#stop").is_visible()
    assert page.words(".scaled .card")  # and so are the documents
    answerer.gate.set()
    page.finished(QUESTION)
    assert page.words("#live .prose")[0].startswith(f"You asked {QUESTION}")
    assert page.tab.locator("#live .prose strong").inner_text() == QUESTION
    assert page.words("#live .prose a.cite") == ["1", "2"]
    assert len(page.words("#live .source")) == 2
    assert "10 of 10 documents sent to fake:model" in page.words("#live .meta")[0]

    page.tab.locator("#live .prose a.cite").nth(1).click()
    page.tab.wait_for_selector(".scaled .card.shown")
    assert page.words(".card.shown .number") == ["[2]"]
    assert page.tab.evaluate("document.activeElement.classList.contains('shown')")
    assert page.tab.locator(".card.shown").bounding_box()["y"] < 800


def test_hits_stand_beside_it_with_kind_score_and_cosine(page: Page, answerer: FakeAnswerer, library: Library) -> None:
    page.ask(QUESTION)
    found = library.answering().rankings(QUESTION, k=10)
    assert found.standardized is not None
    assert page.words(".scaled .card .id") == found.standardized.ids
    assert page.words(".scaled .badge") == [
        {"text": "Text", "image": "Picture"}[hit.modality] for hit in found.standardized
    ]
    assert page.words(".scaled .numbers div:first-child dd") == [f"{hit.score:+.2f}" for hit in found.standardized]
    assert page.words(".scaled .numbers div:last-child dd") == [f"{hit.cosine:.3f}" for hit in found.standardized]
    page.tab.wait_for_function(
        "[...document.querySelectorAll('.scaled .card img')].slice(0, 1).every(one => one.complete && one.naturalWidth)"
    )
    assert page.tab.locator(".scaled .card.image img").count() == len(found.standardized.of("image"))


def test_a_switch_shows_the_ranking_by_raw_cosine_beside_it(
    page: Page, answerer: FakeAnswerer, library: Library
) -> None:
    page.ask(QUESTION)
    found = library.answering().rankings(QUESTION, k=10)
    assert not page.tab.locator(".ranking.raw").is_visible()
    switch = page.tab.get_by_role("switch", name="Compare with raw cosine")
    assert switch.get_attribute("aria-checked") == "false"
    switch.click()
    assert switch.get_attribute("aria-checked") == "true"
    left, right = (page.tab.locator(one).bounding_box() for one in (".ranking.scaled", ".ranking.raw"))
    assert left["x"] + left["width"] <= right["x"]
    raw = [card.get_attribute("data-key") for card in page.tab.locator(".raw .card").all()]
    scaled = [card.get_attribute("data-key") for card in page.tab.locator(".scaled .card").all()]
    assert raw != scaled
    assert len(raw) == len(found.raw)
    moved = [word for word in page.words(".scaled .move") if word.split()[0] in ("▲", "▼", "new")]
    assert moved
    assert f"{len(found.standardized.of('image'))} of 10 on the common scale" in page.words(".tally")[0]  # type: ignore[union-attr]
    switch.press("Space")
    assert not page.tab.locator(".ranking.raw").is_visible()


def test_quotas_rerank_the_last_question_and_bad_ones_are_told(page: Page, answerer: FakeAnswerer) -> None:
    page.ask(QUESTION)
    page.tab.get_by_role("button", name="How many, and of which kind").click()
    most = page.tab.locator("#most-text input[type=range]")
    most.fill("2")
    most.dispatch_event("pointerup")
    page.tab.wait_for_function("document.querySelectorAll('.scaled .card.text').length === 2")
    assert len(answerer.requests) == 1
    page.ask("Which cups are red?")
    assert [sent.item.modality for sent in answerer.requests[1].prompt.sent].count("text") == 2
    least = page.tab.locator("#least-text input[type=range]")
    least.fill("5")
    least.dispatch_event("pointerup")
    page.tab.wait_for_selector("#notice >> text=above its maximum of 2")
    page.ask("And now?")
    assert "above its maximum of 2" in page.words("#live .error")[0]


def test_earlier_questions_stay_and_are_sent_along(page: Page, answerer: FakeAnswerer) -> None:
    page.ask("Where are the cups?")
    page.ask("And the fish?")
    for where, question in (("thread", "Where are the cups?"), ("live", "And the fish?")):
        assert page.tab.locator(f"#{where} .question").text_content() == f"You asked: {question}"
    assert [turn.question for turn in answerer.requests[1].history] == ["Where are the cups?"]
    page.tab.get_by_role("button", name="New conversation").click()
    page.tab.wait_for_function("!document.querySelector('.exchange')")
    page.ask("Again?")
    assert answerer.requests[2].history == ()


def test_answers_can_be_stopped_and_the_next_one_comes(page: Page, answerer: FakeAnswerer) -> None:
    answerer.gate = gate = threading.Event()
    page.begin("Where is the moon?")
    page.tab.wait_for_selector(".prose >> text=You")
    page.tab.get_by_role("button", name="Stop").click()
    page.tab.wait_for_selector("#live .note >> text=Stopped.")
    gate.set()
    answerer.gate = None
    page.tab.wait_for_selector("#send", state="visible")
    page.ask("Where is the sun?")
    assert page.words("#live .error") == []
    assert "Where is the sun?" in page.words("#live .prose")[0]


def test_the_button_to_ask_comes_back_when_a_question_is_taken_again(
    visit: Callable[..., Page], answerer: FakeAnswerer, library: Library
) -> None:
    end = threading.Event()

    class SlowToEnd(Handlers):
        """Does not end with the last change of the page, as on a busy machine."""

        def ask(self, question: str, session: Session, k: float, raw: bool, *bounds: float) -> Iterator[dict[str, Any]]:
            yield from super().ask(question, session, k, raw, *bounds)
            assert end.wait(300)

    with served(library, handlers=SlowToEnd) as address:
        page = visit(address)
        page.begin("Where is the moon?")
        page.tab.wait_for_selector("#live .meta")
        assert not page.tab.locator("#send").is_visible()
        end.set()
        page.finished("Where is the moon?")
        page.ask("Where is the other moon?")

        end.clear()
        answerer.gate = threading.Event()
        page.begin("Where is the sun?")
        page.tab.wait_for_selector(".prose >> text=You")
        page.tab.get_by_role("button", name="Stop").click()
        page.tab.wait_for_selector("#live .note >> text=Stopped.")
        assert not page.tab.locator("#send").is_visible()
        answerer.gate.set()
        end.set()
        page.tab.wait_for_selector("#send", state="visible")
        page.ask("Where is the sea?")
        assert [request.question.split()[-1] for request in answerer.requests] == ["moon?", "moon?", "sun?", "sea?"]


def test_what_is_moved_during_an_answer_counts_after_it(
    visit: Callable[..., Page], answerer: FakeAnswerer, library: Library
) -> None:
    ranked = threading.Event()

    class Noting(Handlers):
        def rank(self, session: Session, k: float, raw: bool, *bounds: float) -> dict[str, Any]:
            changes = super().rank(session, k, raw, *bounds)
            ranked.set()
            return changes

    answerer.gate = threading.Event()
    with served(library, handlers=Noting) as address:
        page = visit(address)
        page.tab.get_by_role("button", name="How many, and of which kind").click()
        page.begin(QUESTION)
        page.tab.wait_for_selector(".prose >> text=You")
        many = page.tab.locator("#documents-slider input[type=range]")
        many.fill("3")
        many.dispatch_event("pointerup")
        assert ranked.wait(300)
        assert page.tab.locator(".scaled .card").count() == 10
        answerer.gate.set()
        page.finished(QUESTION)
        assert page.tab.locator(".scaled .card").count() == 3
        assert "10 of 10 documents sent" in page.words("#live .meta")[0]


def test_the_scale_is_shown_and_learned_anew_for_one_user_only(
    page: Page, visit: Callable[..., Page], answerer: FakeAnswerer, library: Library, questions: list[str]
) -> None:
    before = library.joint.calibration
    assert before is not None
    other = visit()
    other.ask(QUESTION)
    page.ask(QUESTION)
    page.open_tab("Scale")
    page.tab.wait_for_selector(".chart")
    assert "60 unlabeled questions" in page.words(".scale > p")[0]
    shown = {cells.split()[0]: cells.split()[2:4] for cells in page.words(".scale tbody tr")}
    for modality, label in (("text", "Text"), ("image", "Picture")):
        statistics = before.statistics(modality)
        assert shown[label] == [f"{statistics.mean:.3f}", f"{statistics.std:.3f}"]
    assert page.tab.locator(".chart polygon").count() == 4

    page.tab.fill("#pasted textarea", "\n\n".join(questions[:40]))
    page.tab.evaluate(BARS)
    page.tab.get_by_role("button", name="Recalibrate for me").click()
    page.tab.wait_for_selector("#progress >> text=The new scale is in use, for you alone.")
    assert page.tab.evaluate("window.bars.length > 0 && window.bars.every((v, i) => !i || v >= window.bars[i - 1])")
    assert "40 unlabeled questions" in page.words(".scale > p")[0]
    assert library.joint.calibration is before
    other.open_tab("Scale")
    other.tab.wait_for_selector(".chart")
    assert "60 unlabeled questions" in other.words(".scale > p")[0]

    page.tab.get_by_role("button", name="Use the scale of the index").click()
    page.tab.wait_for_selector("#progress >> text=The scale of the index is in use again.")
    page.tab.wait_for_selector(".scale >> text=60 unlabeled questions")
    page.tab.fill("#pasted textarea", "  \n ")
    page.tab.get_by_role("button", name="Recalibrate for me").click()
    page.tab.wait_for_selector("#progress >> text=There is no question")
    assert page.tab.get_by_role("button", name="Recalibrate for everybody").count() == 0


def test_two_users_at_once_see_their_own_answers(visit: Callable[..., Page], answerer: FakeAnswerer) -> None:
    answerer.gate = threading.Event()
    first, second = visit(), visit()
    first.begin("Where is the first moon?")
    second.begin("Where is the second moon?")
    for page in (first, second):
        page.tab.wait_for_selector(".prose >> text=You")
    answerer.gate.set()
    first.finished("first")
    second.finished("second")
    assert "first moon" in first.words("#live .prose")[0]
    assert "second moon" in second.words("#live .prose")[0]
    assert "second" not in first.words("#conversation")[0]
    assert "first" not in second.words("#conversation")[0]


def test_it_can_be_used_by_keyboard(page: Page, answerer: FakeAnswerer) -> None:
    assert page.tab.evaluate("document.activeElement.matches('#question textarea')")
    page.tab.keyboard.type("Two lines")
    page.tab.keyboard.press("Shift+Enter")
    page.tab.keyboard.type("of one question?")
    assert answerer.requests == []
    page.tab.keyboard.press("Enter")
    page.finished("Two lines")
    assert answerer.requests[0].question == "Two lines\nof one question?"
    reached = []
    page.tab.evaluate("document.querySelector('#question textarea').focus()")
    for _ in range(4):
        page.tab.keyboard.press("Shift+Tab")
        reached.append(page.tab.evaluate("document.activeElement.className"))
    assert any("cite" in classes for classes in reached)
    page.tab.evaluate("document.querySelector('#live .prose a.cite').focus()")
    assert page.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_selector(".card.shown")
    for role, name in (("textbox", "Your question"), ("button", "Ask"), ("switch", "Compare"), ("tab", "Scale")):
        assert page.tab.get_by_role(role, name=name).count() == 1, name
    unnamed = "[...document.querySelectorAll('img')].filter(one => !one.hasAttribute('alt')).length"
    assert page.tab.evaluate(unnamed) == 0


def test_it_fits_narrow_screens(visit: Callable[..., Page], answerer: FakeAnswerer) -> None:
    answerer.words = lambda question: f"{'long' * 60} {question} [1]"
    page = visit(viewport={"width": 390, "height": 844})
    assert page.width_fits()
    page.ask("fish " * 5 + "x" * 120)
    assert page.width_fits(320, 390, 768)
    page.tab.get_by_role("switch").click()
    assert page.width_fits(320, 390, 768)
    page.open_tab("Scale")
    page.tab.wait_for_selector(".chart")
    assert page.width_fits(320, 390, 768)


def test_words_are_readable_in_light_and_dark(page: Page, answerer: FakeAnswerer) -> None:
    contrasts = page.in_both_schemes(CONTRASTS)
    answerer.words = lambda question: "Seen [1] and [77], `code`\n\n> said"
    page.ask(QUESTION)
    page.tab.get_by_role("switch").click()
    contrasts += page.in_both_schemes(CONTRASTS)
    page.tab.get_by_role("button", name="How many, and of which kind").click()
    page.open_tab("Scale")
    page.tab.wait_for_selector(".chart")
    contrasts += page.in_both_schemes(CONTRASTS)
    answerer.error = OSError("broken")
    page.ask("And this one?")
    assert page.words("#live .error")
    contrasts += page.in_both_schemes(CONTRASTS)
    assert len(contrasts) > 300
    assert [one for one in contrasts if one[0] < 4.5] == []
