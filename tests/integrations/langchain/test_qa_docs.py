"""The blocks of docs/langchain-qa.md run, and send what the page says."""

from __future__ import annotations

import ast
import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

for package in ("torch", "PIL", "langchain_openai", "langchain.agents"):
    pytest.importorskip(package)

from chat_providers import serve_provider  # noqa: E402
from commonscale.langchain.answers import MultimodalAnswer  # noqa: E402

DOCUMENT = (Path(__file__).parents[3] / "docs/langchain-qa.md").read_text(encoding="utf-8")
ANSWER = "A kite [1], or [9] two [2]."


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loopback_only: None) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    printed: list[str] = []
    with serve_provider("openai") as provider:
        provider.server.answer = ANSWER
        names: dict[str, Any] = {"MODEL": "any", "URL": provider.server.url, "KEY": "none"}
        for code in blocks:
            if "create_agent" in code:
                provider.will_call("look", {"query": "three purple fish"})
            output = io.StringIO()
            with redirect_stdout(output):
                exec(compile(code, "docs/langchain-qa.md", "exec", dont_inherit=True), names)
            printed.append(output.getvalue())
        requests = provider.server.requests
    _setup, asked, streamed, own, talked, kept, looked, agent, free = printed
    first, *sources, cites, left = asked.splitlines()
    assert first == ANSWER
    assert [line.split()[0] for line in sources] == [f"[{number}]" for number in range(1, 7)]
    assert sum(" image " in line for line in sources) >= 2
    assert cites == f"cites {[line.split()[2] for line in sources[:2]]} and, never sent, (9,)"
    assert left.startswith("6 left out; the first of them: ")
    assert streamed.splitlines() == [f"6 sources: {ANSWER}", str([ANSWER] * 2)]
    assert own == f"{ANSWER}\n"
    assert talked.splitlines() == [f"What is above three purple fish? -> {ANSWER}", f"{ANSWER} -> {ANSWER}"]
    assert kept == f"{[line.split()[2] for line in sources[:2]]}\n"
    assert re.fullmatch(r"\['text', 'text', 'text', '(text|image)'\] 6\n", looked)
    assert agent == f"{ANSWER}\n"
    assert len(ast.literal_eval(free)) == 2
    # One call for each question, one more to rewrite the second of the conversation, two of the agent.
    assert len(requests) == 1 + 3 + 1 + 3 + 1 + 2 + 1
    for request in requests:
        pictures = [
            message["role"]
            for message in request["messages"]
            if isinstance(message["content"], list)
            for part in message["content"]
            if part["type"] == "image_url"
        ]
        assert set(pictures) <= {"user"}


def test_every_key_of_the_answer_is_described() -> None:
    described = re.findall(r"^\| `(\w+)` \| ", DOCUMENT, re.MULTILINE)
    assert [*described[:1], "standalone_question", *described[1:]] == list(MultimodalAnswer.__annotations__)
