from __future__ import annotations

import random
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from commonscale import IMAGE, TEXT, Calibration

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("faiss")
pytest.importorskip("ir_measures")
pytest.importorskip("jinja2")
rich_console = pytest.importorskip("rich.console")

from commonscale.demo import DemoResult, build_world, run  # noqa: E402
from commonscale.demo.answers import CLOSED, RAW, ROWS, STANDARDIZED  # noqa: E402
from commonscale.demo.drawing import draw  # noqa: E402
from commonscale.demo.measure import METHODS  # noqa: E402
from commonscale.demo.report import answer_cells, heading  # noqa: E402
from commonscale.demo.scenes import distinct_scenes, random_scene  # noqa: E402
from commonscale.demo.train_encoder import Settings, scenes_for  # noqa: E402
from commonscale.demo.wording import passage, question  # noqa: E402

WORLD = build_world()
LITTLE_WORDS = {"a", "an", "at", "the", "of", "to", "and", "in", "on"}


def demonstrate(folder: Path) -> tuple[DemoResult, str]:
    printed = StringIO()
    return run(folder, console=rich_console.Console(file=printed, width=120)), printed.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> tuple[DemoResult, str]:
    return demonstrate(folder)


# --- the world ----------------------------------------------------------------------------------------------------


def test_the_world_is_the_same_every_time() -> None:
    again = build_world.__wrapped__()
    assert again == WORLD
    assert draw(WORLD.entries[0].scene).tobytes() == draw(again.entries[0].scene).tobytes()
    assert build_world(1) != WORLD


def test_a_scene_is_known_by_its_picture_or_by_passages_and_has_one_question() -> None:
    assert len(WORLD.of(IMAGE)) == len(WORLD.of(TEXT)) == 180
    assert all(not entry.passages for entry in WORLD.of(IMAGE))
    assert {len(entry.passages) for entry in WORLD.of(TEXT)} == {1, 2, 3}
    ids = [document for entry in WORLD.entries for document in entry.documents]
    assert len(set(ids)) == len(ids)


def test_corpus_calibration_and_training_share_no_scene() -> None:
    corpus = {entry.scene.key for entry in WORLD.entries}
    calibration = {scene.key for scene in WORLD.calibration_scenes}
    trained, held_out = scenes_for(Settings())
    training, measured = ({scene.key for scene in scenes} for scenes in (trained, held_out))
    assert (len(corpus), len(calibration), len(training), len(measured)) == (360, 300, 10_000, 400)
    assert not corpus & calibration
    assert not (corpus | calibration) & (training | measured)
    assert not training & measured


def test_passages_share_no_content_word_with_questions() -> None:
    rng = random.Random(5)
    scenes = [random_scene(rng) for _ in range(500)]
    asked = {w for s in scenes for w in re.findall(r"[a-z]+", question(s, rng).lower())}
    told = {w for s in scenes for w in re.findall(r"[a-z]+", passage(s, rng).lower())}
    assert len(asked) > 50
    assert asked & told <= LITTLE_WORDS


def test_scenes_that_must_not_come_do_not_come() -> None:
    first = distinct_scenes(50, random.Random(0))
    others = distinct_scenes(50, random.Random(0), excluded={scene.key for scene in first})
    assert not {scene.key for scene in first} & {scene.key for scene in others}


# --- what it measures ---------------------------------------------------------------------------------------------


def test_there_is_a_gap_and_standardizing_closes_it(demo: tuple[DemoResult, str]) -> None:
    result, _ = demo
    raw, standardized, alone = (result.table[method] for method in METHODS)
    assert result.gap.distance > 0.3
    assert result.gap.mean(TEXT) - result.gap.mean(IMAGE) > 0.2
    assert raw[IMAGE]["recall@1"] == 0
    assert raw[IMAGE]["recall@5"] < 0.05
    assert standardized[IMAGE]["recall@1"] > 0.6
    assert standardized[IMAGE]["recall@5"] > 0.9
    assert standardized[TEXT]["recall@20"] > 0.9
    for modality in (TEXT, IMAGE):
        for metric, ceiling in alone[modality].items():
            assert standardized[modality][metric] <= ceiling


def test_the_scale_is_that_of_the_calibration_questions(demo: tuple[DemoResult, str], folder: Path) -> None:
    result, _ = demo
    assert result.calibration.questions == 300
    assert Calibration.load(folder / "index" / "calibration.json") == result.calibration
    for modality in (TEXT, IMAGE):
        assert np.mean(result.gap.standardized[modality]) == pytest.approx(0, abs=1e-9)
        assert np.std(result.gap.standardized[modality]) == pytest.approx(1)


def test_a_second_run_in_the_same_folder_gives_equal_numbers(demo: tuple[DemoResult, str], folder: Path) -> None:
    first, printed = demo
    second, printed_again = demonstrate(folder)
    assert second.table == first.table
    assert second.gap.distance == first.gap.distance
    assert [e.after for e in second.examples] == [e.after for e in first.examples]
    assert printed_again == printed


def test_what_is_printed_is_what_was_measured(demo: tuple[DemoResult, str]) -> None:
    result, printed = demo
    assert f"{result.gap.distance:.2f} apart" in printed
    for method in METHODS:
        for modality in (TEXT, IMAGE):
            assert f"{result.table[method][modality]['mrr@20']:.3f}" in printed
    for kind in (IMAGE, TEXT):
        first = next(entry for entry in WORLD.entries if entry.modality == kind)
        assert first.question in printed


def test_the_answers_on_the_page_are_the_printed_ones_and_standardizing_helps(demo: tuple[DemoResult, str]) -> None:
    result, printed = demo
    page = result.page.read_text(encoding="utf-8")
    shown = re.findall(r"<td[^>]*>([\d.]+)</td>", page[page.index('class="answers"') :])
    cells = [cell for modality, kind in ROWS for cell in answer_cells(result.answers, modality, kind)]
    assert shown == cells
    assert re.findall(r"\d[\d.]*", " ".join(re.findall(r"│ (?:color|count|thing|position|all) .*", printed))) == cells
    accuracy = result.answers.accuracy
    assert accuracy(STANDARDIZED, IMAGE) > accuracy(RAW, IMAGE) + 0.1
    assert accuracy(STANDARDIZED) > accuracy(RAW)
    assert accuracy(CLOSED) > accuracy(STANDARDIZED)


def test_headings() -> None:
    assert [heading("recall@5"), heading("mrr@20")] == ["Recall@5", "MRR@20"]


# --- the page -----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        if tag == "img":
            self.images.append(dict(attrs))


def test_the_page_is_self_contained_and_readable_without_seeing(demo: tuple[DemoResult, str]) -> None:
    result, _ = demo
    text = result.page.read_text(encoding="utf-8")
    page = Page(text)
    assert page.images
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not re.search(r"url\(|@import|<script|<link", text)
    assert all(re.match(r"Picture: .+ (above|to the left of) ", image["alt"] or "") for image in page.images)


def test_the_page_shows_the_first_three_questions_of_each_kind_and_the_numbers(demo: tuple[DemoResult, str]) -> None:
    result, _ = demo
    text = result.page.read_text(encoding="utf-8")
    for modality in (IMAGE, TEXT):
        for entry in WORLD.of(modality)[:3]:
            assert f"<strong>{entry.question}</strong>" in text
    assert text.count('<section class="ask">') == 6
    assert f"{result.table['standardized'][IMAGE]['recall@20']:.3f}" in text
    answers = sum(hit.id in e.entry.documents for e in result.examples for hit in (*e.before, *e.after))
    assert text.count("the answer</span>") == answers > 0
