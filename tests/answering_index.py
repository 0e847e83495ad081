"""An index of a few pictures and texts with a tiny encoder, calibrated, as the commands make it."""

from __future__ import annotations

import warnings
from pathlib import Path

from cli_world import picture, write_folder
from commonscale.cli.calibrate_command import calibrate
from commonscale.cli.index_command import index_folder
from commonscale.core.errors import FewQuestionsWarning

QUESTIONS = [
    f"{count} {color} {animal}" for count in ("a", "two") for color in ("red", "blue") for animal in ("dog", "cat")
]


def make_index(folder: Path, encoder: Path, *, calibrated: bool = True) -> Path:
    """Index ``folder/files``, which holds four pictures and two texts, and give the folder of the index."""
    out = folder / "index"
    files = write_folder(folder / "files")
    (files / "wide.png").write_bytes(picture("red", size=1500))
    assert index_folder(files, out, str(encoder), None) == 0
    if calibrated:
        (folder / "questions.txt").write_text("\n".join(QUESTIONS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewQuestionsWarning)
            calibrate(out, folder / "questions.txt", None, "standardized", None, None)
    return out
