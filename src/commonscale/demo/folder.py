"""The world as a folder of files, such as anybody has: pictures, and texts of a passage each."""

from __future__ import annotations

import os
from pathlib import Path

from commonscale.core.files import write_text_atomically
from commonscale.demo.corpus import draw_pictures
from commonscale.demo.world import World, build_world


def write_world(folder: str | os.PathLike[str], world: World | None = None) -> Path:
    """Draw the pictures of a world into ``folder/pictures`` and write its passages into ``folder/texts``.

    Files of the same names are replaced, others stay.

    Args:
        folder: where the files go; made if needed.
        world: the world; None for the one of the demonstration.

    Returns:
        The folder.
    """
    world = build_world() if world is None else world
    draw_pictures(world, Path(folder) / "pictures")
    for document, passage in world.passages.items():
        write_text_atomically(Path(folder) / "texts" / f"{document.replace('/', '-')}.txt", f"{passage}\n")
    return Path(folder)
