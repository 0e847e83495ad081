"""The README's blocks run, and print what the README says."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

for package in (
    "llama_index.core",
    "langchain_core",
    "torch",
    "faiss",
    "PIL",
    "rich",
    "jinja2",
    "ir_measures",
    "langchain_openai",
    "llama_index.llms.openai_like",
    "llama_index.vector_stores.qdrant",
):
    pytest.importorskip(package)

from chat_server import ChatServer  # noqa: E402
from commonscale import IMAGE, TEXT  # noqa: E402
from commonscale.demo.answers import ALL, WAYS  # noqa: E402

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def in_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("in_new_folder")
def test_every_block_runs_and_prints_what_stands_below_it(chat_server: ChatServer) -> None:
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {"MODEL": "any", "URL": chat_server.url, "KEY": "none"}
    for code, output in blocks:
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), names)
        assert printed.getvalue() == (output or f"{chat_server.answer}\n")
    # Both engines asked once, with two pictures or more among six documents.
    assert len(chat_server.requests) == 2
    for request in chat_server.requests:
        parts = [
            part
            for message in request["messages"]
            if isinstance(message["content"], list)
            for part in message["content"]
        ]
        assert sum(part["type"] == "image_url" for part in parts) >= 2


def test_the_table_is_what_the_demo_prints(in_new_folder: Path) -> None:
    from rich.console import Console

    from commonscale.demo import run

    result = run(in_new_folder, console=Console(file=io.StringIO()))
    table, answers = result.table, result.answers
    rows = re.findall(r"^\|.*?\| \**(raw cosine|standardized)\** \| ([.\d].+) \|$", README, re.MULTILINE)
    shown = [(method, [float(cell) for cell in cells.split(" | ")]) for method, cells in rows]
    for (method, cells), modality in zip(shown, (TEXT, TEXT, IMAGE, IMAGE), strict=True):
        assert cells == pytest.approx(list(table[method][modality].values()), abs=5e-4)
    told = re.findall(r"^\| (answer is a picture|answer is a passage|all) \| (\d+) \| (.+) \|$", README, re.MULTILINE)
    for (_, count, shares), where in zip(told, (IMAGE, TEXT, ALL), strict=True):
        assert int(count) == len(answers.chosen(where))
        assert [float(share) for share in shares.split(" | ")] == pytest.approx(
            [answers.accuracy(way, where) for way in WAYS], abs=5e-4
        )


def test_named_commands_and_extras_exist() -> None:
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    from typer.testing import CliRunner

    from commonscale.cli.app import app

    for command in set(re.findall(r"^    commonscale (\w+)", README, re.MULTILINE)):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
    extras = re.search(r"The extras are (.+?);", README, re.DOTALL)
    assert extras is not None
    for extra in re.findall(r"`([\w-]+)`", extras.group(1)):
        assert f"\n{extra} = [" in pyproject
