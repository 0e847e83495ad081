"""What docs/prompting-pictures.md shows runs, and its numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from commonscale.encoders.images import ImageOptions
from commonscale.prompting import encoding, picture_cache, pictures

Image = pytest.importorskip("PIL.Image")
DOCUMENT = (Path(__file__).parents[3] / "docs/prompting-pictures.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    noise = Image.effect_noise((1600, 1200), 60)
    noise.save(tmp_path / "photos" / "holiday.jpg")
    found = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], "docs/prompting-pictures.md", "exec"), names)
    prepared = names["prepared"]
    assert f"# {(prepared.width, prepared.mime_type)!r}" in found[1]
    assert names["builder"].pictures is names["pictures"]


def test_the_numbers_are_those_of_the_code() -> None:
    options = ImageOptions()
    assert f"in {options.timeout:.0f} seconds and {options.max_bytes // 10**6} MB at most" in DOCUMENT
    assert f"`max_pixels` ({options.max_pixels // 10**6} million)" in DOCUMENT
    assert f"JPEG of quality {encoding.QUALITY};" in DOCUMENT
    assert f"64 of them (`cached`), at most {picture_cache.MAX_BYTES // 2**20} MiB" in DOCUMENT
    defaults = pictures.Pictures.__init__.__kwdefaults__
    assert (defaults["max_side"], defaults["cached"], defaults["urls"]) == (1024, 64, "refuse")
