"""The Python of docs/answering.md, run in its order over a small index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("faiss")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("semantic_text_splitter")

from answering_index import make_index
from commonscale import load_encoder
from commonscale.answering import Answer, Answerer
from commonscale.answering.naming import KEYS
from tiny_models import save_tiny_clip

DOCUMENT = (Path(__file__).parents[3] / "docs/answering.md").read_text("utf-8")


def test_the_python_of_the_document_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.M | re.S)
    assert len(blocks) == 3
    clip = save_tiny_clip(tmp_path / "clip")
    assert make_index(tmp_path, clip).name == "index"
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"encode": load_encoder(clip).encode_questions, "__name__": "document"}
    capsys.readouterr()
    for block in blocks:
        exec(compile(block, "docs/answering.md", "exec"), names)
    assert isinstance(names["answer"], Answer)
    assert isinstance(names["FirstSentence"](), Answerer)  # type: ignore[operator]
    printed = capsys.readouterr().out
    assert "['short.txt']" in printed
    assert re.search(r"\. \[\d+\]\n", printed)


def test_the_keys_of_the_document_are_those_that_messages_name() -> None:
    rows = re.findall(r"^\| `(\w+):[^`]+` \| `[\w-]+` \| (`\w+`|none) \|$", DOCUMENT, re.M)
    assert len(rows) == 4
    assert {provider: key.strip("`") for provider, key in rows} == {
        provider: KEYS.get(provider, "none") for provider, _ in rows
    }
