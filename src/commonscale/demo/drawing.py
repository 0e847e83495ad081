"""Draw a scene with Pillow."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

from commonscale.core.extras import require
from commonscale.demo.scenes import Group, Scene
from commonscale.demo.things import DRAWERS, Pen

if TYPE_CHECKING:
    from PIL import Image

Color = tuple[int, int, int]

PAINT: dict[str, Color] = {
    "red": (222, 45, 38),
    "orange": (250, 140, 22),
    "yellow": (252, 216, 40),
    "green": (44, 160, 70),
    "blue": (40, 110, 225),
    "purple": (138, 60, 190),
    "pink": (255, 140, 190),
    "brown": (128, 78, 38),
}
# Upper and lower color of the background, and the color of outlines on it.
BACKDROP: dict[str, tuple[Color, Color, Color]] = {
    "night": ((22, 28, 62), (64, 72, 120), (236, 236, 246)),
    "beach": ((252, 238, 205), (236, 208, 150), (40, 34, 30)),
    "snow": ((255, 255, 255), (220, 230, 240), (40, 40, 50)),
    "meadow": ((236, 247, 222), (184, 220, 156), (32, 42, 30)),
    "dusk": ((254, 226, 226), (238, 178, 160), (48, 32, 36)),
}
# Side of one thing's box as a share of the picture, by how many of them share a half of it.
SIZES = {1: 0.40, 2: 0.34, 3: 0.28, 4: 0.22}
# Everything is drawn on a canvas of this size and scaled down, which smooths the edges.
CANVAS = 512


def draw(scene: Scene, size: int = 256) -> Image.Image:
    """Draw a scene.

    Args:
        scene: What to draw; the same scene gives the same pixels every time.
        size: Side of the picture in pixels.

    Returns:
        A square RGB picture.
    """
    require("PIL", "encoders")
    from PIL import Image, ImageDraw

    picture = _backdrop(scene.setting).copy()
    ink = BACKDROP[scene.setting][2]
    rng = random.Random(scene.placement)
    canvas = ImageDraw.Draw(picture)
    for half, group in enumerate((scene.first, scene.second)):
        for left, top, side in _boxes(group, half, scene.relation, rng):
            pen = Pen(canvas, left * CANVAS, top * CANVAS, side * CANVAS, PAINT[group.color], ink)
            DRAWERS[group.thing](pen)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


@cache
def _backdrop(setting: str) -> Image.Image:
    """Draw an empty picture that shades from a setting's upper color to its lower one."""
    from PIL import Image, ImageOps

    upper, lower, _ = BACKDROP[setting]
    return ImageOps.colorize(Image.linear_gradient("L").resize((CANVAS, CANVAS)), upper, lower)


def _boxes(group: Group, half: int, relation: str, rng: random.Random) -> list[tuple[float, float, float]]:
    """Place a group's things in a row (upper or lower half) or a column (left or right half), with jitter."""
    side = SIZES[group.count] * rng.uniform(0.9, 1.0)
    step = 1.0 / group.count
    boxes = []
    for position in range(group.count):
        along = (position + 0.5) * step + rng.uniform(-1, 1) * max(0.0, step - side) * 0.3
        across = 0.25 + 0.5 * half + rng.uniform(-1, 1) * max(0.0, 0.46 - side) * 0.35
        x, y = (along, across) if relation == "above" else (across, along)
        boxes.append((x - side / 2, y - side / 2, side))
    return boxes
