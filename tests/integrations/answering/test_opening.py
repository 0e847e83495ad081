"""From the folder of an index to answers, with a real encoder and real pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("faiss")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("semantic_text_splitter")
pytest.importorskip("langchain_openai")

from answering_index import make_index
from answering_world import FakeAnswerer
from chat_server import ChatServer
from commonscale import Question
from commonscale.answering import ChatModelAnswerer, QuestionAnswering, answerer_for
from commonscale.answering.opening import LLM, picture_rule
from commonscale.core.errors import InvalidInputError, NotCalibratedError, SkippedImageWarning, StaleCalibrationWarning
from commonscale.index import Document, FaissIndex
from commonscale.index.opening import FOLDER
from commonscale.index.searching import open_search
from commonscale.prompting import PICTURE_RULES, Budget, rule_of
from tiny_models import save_tiny_clip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    return make_index(folder, save_tiny_clip(folder / "clip"))


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index"))


def test_an_index_is_opened_and_asked(made: Path, chat_server: ChatServer) -> None:
    chat_server.answer = "red [1] and [99]"
    asked = QuestionAnswering.open(made, llm="openai:gpt", base_url=chat_server.url, k=4, budget=Budget(images=2))
    found = asked.ask("a red dog")
    assert len(found.ranking) == 4
    assert found.citations.ids == [found.ranking.ids[0]]
    assert found.citations.unknown == (99,)
    pictures = sum(part["type"] == "image_url" for part in chat_server.content)
    assert pictures == sum(sent.picture is not None for sent in found.prompt.sent) == 2
    both = asked.rankings("a red dog")
    assert both.standardized is not None
    opened = open_search(made)
    question = Question("a red dog", opened.encoder.encode_questions(["a red dog"])[0])
    assert both.standardized == opened.search.search(question, 4)
    assert both.raw == opened.search.search(question, 4, raw=True)


def test_what_cannot_be_named_is_told_before_the_encoder_loads(copied: Path) -> None:
    index = FaissIndex.open(copied)
    index.set_note("encoder", "/nowhere/at/all")
    index.save()
    with pytest.raises(InvalidInputError, match=r"name one with --llm PROVIDER:MODEL .*COMMONSCALE_LLM"):
        QuestionAnswering.open(copied)
    with pytest.raises(InvalidInputError, match="no index here; make one with: commonscale index"):
        QuestionAnswering.open(copied / "nothing")


def test_without_calibration_only_raw_answers(copied: Path, chat_server: ChatServer) -> None:
    (copied / "calibration.json").unlink()
    asked = QuestionAnswering.open(copied, llm="openai:gpt", base_url=chat_server.url)
    with pytest.raises(NotCalibratedError):
        asked.ask("a red dog")
    assert asked.ask("a red dog", raw=True).text == "a red bus"


def test_pictures_are_read_from_the_indexed_folder_only(copied: Path, tmp_path: Path) -> None:
    index = FaissIndex.open(copied)
    files, outside = Path(index.notes[FOLDER]), tmp_path / "secret.png"
    shutil.copy(files / "red.png", outside)
    vector = index.vectors(["red.png"])
    index.add([Document("secret.png", "image", path=str(files / os.path.relpath(outside, files)))], vector)
    index.add([Document("secret too", "image", path=str(outside))], vector)
    index.save()
    with pytest.warns(StaleCalibrationWarning):
        opened = open_search(copied)
    asked = QuestionAnswering.over(opened, FakeAnswerer())
    ranking = asked.search("a red dog", raw=True)
    with pytest.warns(SkippedImageWarning, match=r"2 picture\(s\) left out"):
        prompt = asked.prompt(ranking)
    left = {left.item.id: left.reason.value for left in prompt.left_out}
    assert left == {"secret.png": "picture", "secret too": "picture"}
    allowed = QuestionAnswering.over(opened, FakeAnswerer(), folders=[tmp_path])
    assert not allowed.prompt(ranking).left_out


def test_when_the_folder_is_gone_texts_are_still_answered_from(copied: Path, tmp_path: Path) -> None:
    index = FaissIndex.open(copied)
    index.set_note(FOLDER, str(tmp_path / "gone"))
    index.save()
    asked = QuestionAnswering.over(open_search(copied), FakeAnswerer())
    with pytest.warns(SkippedImageWarning):
        prompt = asked.prompt(asked.search("a red dog"))
    assert {sent.item.modality for sent in prompt.sent} == {"text"}


def test_an_index_names_only_what_runs_here(chat_server: ChatServer) -> None:
    assert answerer_for(None, {LLM: "demo"}).name == "demo"
    assert answerer_for("demo", {}).name == "demo"
    with pytest.raises(InvalidInputError, match="no language model is named"):
        answerer_for(None, {LLM: "openai:gpt"})
    named = answerer_for("openai:gpt", {LLM: "demo"}, base_url=chat_server.url)
    assert isinstance(named, ChatModelAnswerer)


@pytest.mark.parametrize(
    ("llm", "rule"),
    [
        ("openai:gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"),
        ("anthropic:claude-sonnet-5", "claude"),
        ("openrouter:openai/gpt-4o", "gpt-4o"),
        ("ollama:llama3.2-vision:11b", "flat"),
        ("demo", "flat"),
    ],
)
def test_pictures_are_counted_by_the_rule_of_the_model(llm: str, rule: str) -> None:
    assert rule_of(picture_rule(llm)) == PICTURE_RULES[rule]
    assert Budget(image_tokens=picture_rule(llm))
