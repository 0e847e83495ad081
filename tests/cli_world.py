"""A folder of small pictures and texts, a tiny encoder, and the command run as a user would run it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LONG_TEXT = "\n\n".join(
    f"Paragraph {number}: a red dog runs on the grass and a blue cat sleeps." for number in range(6)
)


@dataclass(frozen=True)
class Outcome:
    """What a run of the command gave."""

    code: int
    out: str
    err: str

    @property
    def files(self) -> str:
        """The line that counts files."""
        return next(line for line in self.err.splitlines() if line.startswith("Files: "))


class Command:
    """Runs ``commonscale`` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        from commonscale.cli import main

        self.capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = self.capsys.readouterr()
        code = caught.value.code
        return Outcome(code if isinstance(code, int) else 0, out, err)

    def hits(self, *arguments: object) -> list[dict[str, Any]]:
        """Search with --json and give the hits of one question."""
        outcome = self("search", *arguments, "--json")
        assert outcome.code == 0, outcome.err
        hits: list[dict[str, Any]] = json.loads(outcome.out)["hits"]
        return hits


def picture(color: str, size: int = 40, kind: str = "PNG") -> bytes:
    """A picture file of one color."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (size, size), color).save(stream, kind)
    return stream.getvalue()


def write_folder(folder: Path) -> Path:
    """Write three pictures and two texts, one of which is too long for one passage."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "red.png").write_bytes(picture("red"))
    (folder / "deep" / "BLUE.JPG").write_bytes(picture("blue", kind="JPEG"))
    (folder / "deep" / "er" / "grün 写.gif").write_bytes(picture("green", kind="GIF"))
    (folder / "short.txt").write_text("a dog on grass\n")
    (folder / "long.txt").write_text(LONG_TEXT)
    return folder
