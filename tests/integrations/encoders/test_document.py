"""The blocks of docs/encoders.md that need nothing but what comes with the package."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[3] / "docs/encoders.md").read_text("utf-8"), re.S)


def block(words: str) -> str:
    (found,) = (text for text in BLOCKS if words in text)
    return found


def test_the_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block("load_encoder(ENCODER_FOLDER)"), names)
    for name, rows in (("texts", 2), ("images", 10), ("questions", 1)):
        assert names[name].shape[0] == rows
        np.testing.assert_allclose(np.linalg.norm(names[name], axis=1), 1, atol=1e-6)

    names["paths"] = [tmp_path / "missing.jpg", next(iter(names["pictures"].values()))]
    exec(block("encode_images_reporting(paths)"), names)
    assert names["names"] == names["paths"][1:]
    assert "no such file" in capsys.readouterr().out


def test_your_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def encode_text(self, texts: list[str]) -> list[list[float]]:
            return [[len(text), 1.0] for text in texts]

    names: dict[str, object] = {"my_model": Model()}
    exec(block("my-model-2"), names)
    assert names["encoder"].encode_texts(["abc"]).shape == (1, 2)
