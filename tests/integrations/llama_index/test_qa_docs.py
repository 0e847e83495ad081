"""The blocks of docs/llama-index-qa.md run, and print what stands below them."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

for package in ("llama_index.core", "llama_index.llms.openai_like", "torch", "PIL"):
    pytest.importorskip(package)

from chat_server import ChatServer  # noqa: E402

FIGURE = re.compile(r"\d\.\d{3}")
DOCUMENT = (Path(__file__).parents[3] / "docs/llama-index-qa.md").read_text(encoding="utf-8")


def test_every_block_runs_and_prints_what_stands_below_it(
    chat_server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chat_server.answer = "Four blue umbrellas [2][7]."
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", DOCUMENT, re.DOTALL)
    assert len(blocks) == 9
    names: dict[str, Any] = {"MODEL": "any", "URL": chat_server.url, "KEY": "none"}
    printed: list[str] = []
    for code, _ in blocks:
        output = io.StringIO()
        with redirect_stdout(output):
            exec(compile(code, "docs/llama-index-qa.md", "exec"), names)
        printed.append(output.getvalue())
    for found, (_, shown) in zip(printed, blocks, strict=True):
        words, expected = found.split(), shown.split()
        assert [word for word in words if not FIGURE.fullmatch(word)] == [
            word for word in expected if not FIGURE.fullmatch(word)
        ]
        figures = [[float(word) for word in text if FIGURE.fullmatch(word)] for text in (words, expected)]
        assert figures[0] == pytest.approx(figures[1], abs=0.002)
    # One call for each question, and one more that condenses the second message of the chat.
    assert len(chat_server.requests) == 9
