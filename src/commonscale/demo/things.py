"""The ten things of the drawn world, each a few strokes with Pillow inside a square box."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageDraw

Point = tuple[float, float]

PALE = (250, 246, 232)


@dataclass(frozen=True)
class Pen:
    """Draw in a box whose corners are (0, 0) and (1, 1), whatever its place and size on the canvas.

    Attributes:
        canvas: Where to draw.
        left: Left edge of the box in pixels.
        top: Upper edge of the box in pixels.
        size: Side of the box in pixels.
        fill: The thing's own color.
        ink: Color of outlines.
    """

    canvas: ImageDraw.ImageDraw
    left: float
    top: float
    size: float
    fill: tuple[int, int, int]
    ink: tuple[int, int, int]

    @property
    def stroke(self) -> int:
        """Width of an outline in pixels, at least one."""
        return max(1, round(self.size * 0.035))

    def points(self, *points: Point) -> list[Point]:
        """Map points of the unit box to pixels."""
        return [(self.left + x * self.size, self.top + y * self.size) for x, y in points]

    def polygon(self, *points: Point, fill: tuple[int, int, int] | None = None) -> None:
        """Fill and outline a polygon."""
        corners = self.points(*points)
        self.canvas.polygon(corners, fill=fill or self.fill)
        self.canvas.line([*corners, corners[0], corners[1]], fill=self.ink, width=self.stroke, joint="curve")

    def ellipse(self, first: Point, last: Point, *, fill: tuple[int, int, int] | None = None) -> None:
        """Fill and outline the ellipse between two corners."""
        self.canvas.ellipse(self.points(first, last), fill=fill or self.fill, outline=self.ink, width=self.stroke)

    def line(self, *points: Point, width: float) -> None:
        """Draw a line in ink; `width` is a share of the box."""
        self.canvas.line(self.points(*points), fill=self.ink, width=max(1, round(width * self.size)), joint="curve")


def _house(pen: Pen) -> None:
    pen.polygon((0.14, 0.46), (0.86, 0.46), (0.86, 0.96), (0.14, 0.96))
    pen.polygon((0.04, 0.48), (0.5, 0.06), (0.96, 0.48))
    pen.polygon((0.42, 0.64), (0.58, 0.64), (0.58, 0.96), (0.42, 0.96), fill=PALE)


def _boat(pen: Pen) -> None:
    pen.line((0.48, 0.06), (0.48, 0.7), width=0.05)
    pen.polygon((0.53, 0.08), (0.9, 0.6), (0.53, 0.6), fill=PALE)
    pen.polygon((0.43, 0.2), (0.43, 0.6), (0.14, 0.6), fill=PALE)
    pen.polygon((0.02, 0.66), (0.98, 0.66), (0.8, 0.94), (0.2, 0.94))


def _tree(pen: Pen) -> None:
    pen.polygon((0.43, 0.78), (0.57, 0.78), (0.57, 0.98), (0.43, 0.98), fill=PALE)
    pen.polygon((0.5, 0.34), (0.88, 0.82), (0.12, 0.82))
    pen.polygon((0.5, 0.02), (0.78, 0.46), (0.22, 0.46))


def _flower(pen: Pen) -> None:
    for petal in range(6):
        angle = math.pi * (petal / 3 + 0.5)
        x, y = 0.5 + 0.29 * math.cos(angle), 0.5 + 0.29 * math.sin(angle)
        pen.ellipse((x - 0.19, y - 0.19), (x + 0.19, y + 0.19))
    pen.ellipse((0.34, 0.34), (0.66, 0.66), fill=PALE)


def _fish(pen: Pen) -> None:
    pen.polygon((0.66, 0.5), (0.98, 0.22), (0.98, 0.78))
    pen.ellipse((0.02, 0.24), (0.76, 0.76))
    pen.ellipse((0.15, 0.37), (0.27, 0.49), fill=PALE)


def _umbrella(pen: Pen) -> None:
    pen.line((0.5, 0.4), (0.5, 0.9), (0.56, 0.95), (0.64, 0.93), (0.67, 0.84), width=0.06)
    arc = [(0.5 - 0.48 * math.cos(t), 0.52 - 0.46 * math.sin(t)) for t in (math.pi * k / 16 for k in range(17))]
    scallops = ((0.82, 0.42), (0.66, 0.54), (0.5, 0.42), (0.34, 0.54), (0.18, 0.42))
    pen.polygon(*arc, *scallops)


def _mushroom(pen: Pen) -> None:
    pen.polygon((0.36, 0.5), (0.64, 0.5), (0.7, 0.96), (0.3, 0.96), fill=PALE)
    arc = [(0.5 - 0.46 * math.cos(t), 0.56 - 0.5 * math.sin(t)) for t in (math.pi * k / 16 for k in range(17))]
    pen.polygon(*arc)
    for x, y in ((0.3, 0.36), (0.52, 0.22), (0.7, 0.4)):
        pen.ellipse((x - 0.07, y - 0.07), (x + 0.07, y + 0.07), fill=PALE)


def _cup(pen: Pen) -> None:
    pen.ellipse((0.6, 0.34), (0.98, 0.74))
    pen.ellipse((0.7, 0.44), (0.88, 0.64), fill=PALE)
    pen.polygon((0.08, 0.2), (0.78, 0.2), (0.7, 0.94), (0.16, 0.94))
    pen.ellipse((0.08, 0.1), (0.78, 0.3), fill=PALE)


def _car(pen: Pen) -> None:
    pen.polygon((0.22, 0.5), (0.34, 0.22), (0.7, 0.22), (0.84, 0.5), fill=PALE)
    pen.polygon((0.02, 0.48), (0.98, 0.48), (0.98, 0.74), (0.02, 0.74))
    for x in (0.26, 0.74):
        pen.ellipse((x - 0.13, 0.61), (x + 0.13, 0.87), fill=pen.ink)


def _moon(pen: Pen) -> None:
    outer = [(0.5 + 0.46 * math.cos(t), 0.5 + 0.46 * math.sin(t)) for t in _turn(0.28, 1.72)]
    inner = [(0.68 + 0.34 * math.cos(t), 0.5 + 0.34 * math.sin(t)) for t in reversed(_turn(0.36, 1.64))]
    pen.polygon(*outer, *inner)


def _turn(start: float, stop: float) -> list[float]:
    """Return 24 angles between two multiples of pi."""
    return [math.pi * (start + (stop - start) * k / 23) for k in range(24)]


DRAWERS: dict[str, Callable[[Pen], None]] = {
    "house": _house,
    "boat": _boat,
    "tree": _tree,
    "flower": _flower,
    "fish": _fish,
    "umbrella": _umbrella,
    "mushroom": _mushroom,
    "cup": _cup,
    "car": _car,
    "moon": _moon,
}
