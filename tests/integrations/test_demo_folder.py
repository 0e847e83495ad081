"""The drawn world as a folder of files."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("PIL")

from commonscale.demo import build_world
from commonscale.demo.folder import write_world
from commonscale.demo.world import World


def test_every_picture_and_passage_is_a_file(tmp_path: Path) -> None:
    whole = build_world()
    world = World(whole.entries[:6], (), ())
    folder = write_world(tmp_path / "world", world)
    assert {file.name for file in (folder / "pictures").iterdir()} == {
        "scene-001.png",
        "scene-003.png",
        "scene-005.png",
    }
    texts = {file.stem: file.read_text(encoding="utf-8").strip() for file in (folder / "texts").iterdir()}
    assert texts == {document.replace("/", "-"): passage for document, passage in world.passages.items()}
    assert write_world(folder, world) == folder
