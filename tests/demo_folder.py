"""The demonstration's world as a folder of files, and its questions as a file."""

from __future__ import annotations

from pathlib import Path

from commonscale.demo import build_world
from commonscale.demo.corpus import ENCODER_FOLDER, draw_pictures

ENCODER = ENCODER_FOLDER


def write_world(folder: Path) -> Path:
    """Write the pictures and passages of the world and give the folder."""
    world = build_world()
    draw_pictures(world, folder / "pictures")
    for key, passage in world.passages.items():
        file = folder / "texts" / f"{key.replace('/', '-')}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(passage + "\n")
    return folder


def write_questions(file: Path) -> Path:
    """Write the calibration questions of the world and give the file."""
    file.write_text("\n".join(build_world().calibration_questions) + "\n")
    return file
