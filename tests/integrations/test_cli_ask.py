"""``commonscale ask``, against a server on loopback and with the demonstration's own model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from bad_chat_server import BadChatServer, serve_badly
from chat_server import ChatServer
from cli_world import Command
from commonscale.cli.ask_command import _excerpt
from commonscale.index import FaissIndex
from commonscale.prompting import PromptItem
from tiny_models import save_tiny_clip

QUESTION = "a red dog"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    return make_index(folder, save_tiny_clip(folder / "clip"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for name in ("COMMONSCALE_LLM", "COMMONSCALE_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


@pytest.fixture
def bad_server() -> Iterator[BadChatServer]:
    with serve_badly() as server:
        yield server


def over(server: ChatServer | BadChatServer) -> list[Any]:
    return ["--llm", "openai:gpt", "--base-url", server.url]


def test_an_answer_is_printed_with_the_sources_that_it_cites(run: Command, out: Path, chat_server: ChatServer) -> None:
    hits = run.hits(out, QUESTION, "-k", 4)
    chat_server.answer = "a red dog [2] [1]"
    outcome = run("ask", out, QUESTION, "-k", 4, *over(chat_server))
    assert outcome.code == 0, outcome.err
    answer, *table = outcome.out.splitlines()
    assert answer == "a red dog [2] [1]"
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in table if "[" in line]
    assert rows == [
        [f"[{n}]", hit["modality"], f"{hit['score']:+.3f}", f"{hit['cosine']:.4f}", hit["id"], hit["path"]]
        for n, hit in ((2, hits[1]), (1, hits[0]))
    ]
    assert outcome.err == ""


def test_numbers_that_were_not_sent_are_marked(run: Command, out: Path, chat_server: ChatServer) -> None:
    chat_server.answer = "a cat [9]"
    outcome = run("ask", out, QUESTION, "-k", 4, *over(chat_server))
    assert outcome.code == 0
    assert any("[9]" in line and "not sent" in line for line in outcome.out.splitlines()[1:])
    assert "Made up by the model, as no such document was sent: [9]." in outcome.err
    assert "The answer cites none of the 4 documents that were sent." in outcome.err


def test_what_is_left_out_is_told_with_reasons(run: Command, out: Path, chat_server: ChatServer) -> None:
    outcome = run("ask", out, QUESTION, "--images", 1, *over(chat_server))
    pictures = [part for part in chat_server.content if part["type"] == "image_url"]
    assert len(pictures) == 1
    assert "Not sent: 3 of the " in outcome.err
    assert "  3 for images: " in outcome.err
    outcome = run("ask", out, QUESTION, "--tokens", 30, "--images", 0, *over(chat_server))
    assert " for tokens: costs " in outcome.err
    assert "(the first of them)" in outcome.err


def test_json_holds_everything(run: Command, out: Path, chat_server: ChatServer) -> None:
    chat_server.answer = "a red dog [1] [9]"
    outcome = run("ask", out, QUESTION, "-k", 5, "--images", 0, "--minimum", "text=1", "--json", *over(chat_server))
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    hits = run.hits(out, QUESTION, "-k", 5, "--minimum", "text=1")
    assert [found[name] for name in ("question", "llm", "ranked_by", "answer")] == [
        QUESTION,
        "openai:gpt",
        "score",
        "a red dog [1] [9]",
    ]
    texts = [hit for hit in hits if hit["modality"] == "text"]
    assert [source["id"] for source in found["sources"]] == [hit["id"] for hit in texts]
    first = found["sources"][0]
    assert {name: first[name] for name in ("id", "modality", "score", "cosine", "path", "text")} == {
        name: texts[0][name] for name in ("id", "modality", "score", "cosine", "path", "text")
    }
    assert (first["number"], first["picture"], first["cited"]) == (1, False, True)
    assert not any(source["cited"] for source in found["sources"][1:])
    assert found["cited_but_not_sent"] == [9]
    assert {left["reason"] for left in found["left_out"]} == {"images"}
    assert found["tokens"] == sum(source["tokens"] for source in found["sources"])


def test_raw_needs_no_calibration_and_ranks_by_cosine(
    run: Command, out: Path, tmp_path: Path, chat_server: ChatServer
) -> None:
    bare = shutil.copytree(out, tmp_path / "bare")
    (bare / "calibration.json").unlink()
    refused = run("ask", bare, QUESTION, *over(chat_server))
    assert refused.code == 1
    assert refused.err == run("search", bare, QUESTION).err
    assert "not calibrated" in refused.err
    assert not chat_server.requests
    chat_server.answer = "red [1]"
    outcome = run("ask", bare, QUESTION, "--raw", *over(chat_server))
    assert outcome.code == 0, outcome.err
    assert any("│     - │" in line and "[1]" in line for line in outcome.out.splitlines())
    found = json.loads(run("ask", bare, QUESTION, "--raw", "--json", *over(chat_server)).out)
    assert found["ranked_by"] == "cosine"
    assert {source["score"] for source in found["sources"]} == {None}
    assert [source["id"] for source in found["sources"]] == [
        hit["id"] for hit in run.hits(bare, QUESTION, "--raw", "-k", 20)
    ]


def test_the_environment_names_the_model(
    run: Command, out: Path, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONSCALE_LLM", "openai:gpt-of-the-environment")
    monkeypatch.setenv("COMMONSCALE_BASE_URL", chat_server.url)
    assert run("ask", out, QUESTION).out.startswith("a red bus\n")
    assert chat_server.requests[-1]["model"] == "gpt-of-the-environment"


def test_nobody_named_is_an_error_that_says_how(run: Command, out: Path) -> None:
    outcome = run("ask", out, QUESTION)
    assert (outcome.code, outcome.out) == (1, "")
    for words in ("--llm PROVIDER:MODEL", "openai:", "anthropic:", "google_genai:", "ollama:", "--base-url", "_LLM"):
        assert words in outcome.err
    assert "Traceback" not in outcome.err


def test_errors_of_the_model_are_one_message(run: Command, out: Path, bad_server: BadChatServer) -> None:
    bad_server.status, bad_server.message = 401, "Incorrect API key provided: sk-proj-abcdefgh"
    outcome = run("ask", out, QUESTION, *over(bad_server))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: openai:gpt refuses the API key (HTTP 401); set")
    assert "sk-proj" not in outcome.err
    bad_server.status, bad_server.words = 200, "a red"
    outcome = run("ask", out, QUESTION, *over(bad_server))
    assert (outcome.code, outcome.out) == (1, "a red\n")
    assert "broke off before the answer was whole" in outcome.err
    outcome = run("ask", out, QUESTION, "--json", *over(bad_server))
    assert (outcome.code, outcome.out) == (1, "")


def test_a_model_that_is_late_is_given_up(run: Command, out: Path, bad_server: BadChatServer) -> None:
    bad_server.hangs = True
    outcome = run("ask", out, QUESTION, "--timeout", 1, *over(bad_server))
    assert outcome.code == 1
    assert "1 seconds" in outcome.err or "in time" in outcome.err


def test_what_a_terminal_would_obey_is_not_printed(run: Command, out: Path, chat_server: ChatServer) -> None:
    chat_server.answer = "red\x1b[31m\x07\nline"
    outcome = run("ask", out, QUESTION, *over(chat_server))
    assert "\x1b" not in outcome.out
    assert "\x07" not in outcome.out
    assert outcome.out.splitlines()[1] == "line"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["  "], "the question is empty"),
        ([QUESTION, "--minimum", "image"], "not of the form MODALITY=NUMBER"),
        ([QUESTION, "-k", "0"], "Invalid value for '-k'"),
    ],
)
def test_wrong_usage(run: Command, out: Path, arguments: list[str], said: str) -> None:
    outcome = run("ask", out, *arguments, "--llm", "demo")
    assert outcome.code == 2
    assert said in " ".join(outcome.err.replace("│", " ").split())


def test_the_demonstrations_model_answers_where_the_index_names_it(run: Command, out: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(out, tmp_path / "copied")
    index = FaissIndex.open(copied)
    index.set_note("llm", "demo")
    index.save()
    found = json.loads(run("ask", copied, "what color is the bus?", "--json").out)
    assert found["llm"] == "demo"
    assert found["answer"]
    assert found == json.loads(run("ask", out, "what color is the bus?", "--json", "--llm", "demo").out)


def test_a_source_without_a_file_is_shown_by_its_words() -> None:
    assert _excerpt(PromptItem("a", "text", "two\n lines")) == "two lines"
    assert _excerpt(PromptItem("a", "text", "x" * 200)) == "x" * 160 + "..."
    assert _excerpt(PromptItem("a", "image")) == "-"
