"""The kinds of rules by which providers count a picture's tokens.

Read on 2026-11-22 in stored copies of the providers' own pages, each named at its rule. Where a provider changed a
rule, its newest page counts. Nobody was billed to check them; the examples that the pages print are in the tests.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

PictureCost: TypeAlias = Callable[[int, int], float]
"""From width and height in pixels to tokens."""


@runtime_checkable
class PictureRule(Protocol):
    """A rule of the table: a ``PictureCost`` that also knows its limits."""

    @property
    def most(self) -> int:
        """What the dearest picture costs: what a picture of unknown size is counted as."""
        ...

    def __call__(self, width: int, height: int, /) -> int:
        """Give the tokens of a picture of ``width`` x ``height`` pixels."""
        ...


@dataclass(frozen=True, slots=True)
class Flat:
    """The same for every picture.

    Attributes:
        tokens: of a picture.
    """

    tokens: int

    @property
    def most(self) -> int:
        """As every picture."""
        return self.tokens

    def __call__(self, width: int, height: int, /) -> int:
        """Give the tokens of any picture."""
        del width, height
        return self.tokens


@dataclass(frozen=True, slots=True)
class Tiles:
    """OpenAI's tiles of 512 pixels (developers.openai.com/api/docs/guides/images-vision, "Tile-based").

    A picture is shrunk to fit 2048 x 2048, then to a short side of 768; neither step enlarges. ``low`` detail costs the
    base alone.

    Attributes:
        base: tokens of any picture.
        tile: tokens of each tile.
    """

    base: int
    tile: int

    @property
    def most(self) -> int:
        """Eight tiles: 2048 wide, and higher than one tile."""
        return self.base + 8 * self.tile

    def __call__(self, width: int, height: int, /) -> int:
        """Give base and tiles."""
        long, short = _fit(max(width, height), min(width, height), 2048)
        if short > 768:
            long, short = long * 768 // short, 768
        return self.base + self.tile * math.ceil(long / 512) * math.ceil(short / 512)


@dataclass(frozen=True, slots=True)
class Patches:
    """OpenAI's patches of 32 pixels (the same page, "Patch-based"): steps A to D.

    Attributes:
        multiplier: tokens of a patch.
        budget: a picture of more patches is shrunk; one that is not shrunk by its model is refused above 30,000.
        side: a picture with a longer side is shrunk first.
    """

    multiplier: float
    budget: int = 1536
    side: int = 2048

    @property
    def most(self) -> int:
        """The budget, or fewer patches if the side allows no more."""
        return math.ceil(min(self.budget, math.ceil(self.side / 32) ** 2) * self.multiplier)

    def __call__(self, width: int, height: int, /) -> int:
        """Give the patches times the multiplier."""
        long, short = _fit(max(width, height), min(width, height), self.side)
        patches = _grid(long, short, 32)
        if patches > self.budget:
            shrink = math.sqrt(32 * 32 * self.budget / (long * short))
            columns, rows = long * shrink / 32, short * shrink / 32
            # A strip that shrinks to less than one row keeps that row.
            shrink *= min(math.floor(columns) / columns, max(math.floor(rows), 1) / rows)
            patches = min(self.budget, _grid(math.floor(long * shrink), max(math.floor(short * shrink), 1), 32))
        return math.ceil(patches * self.multiplier)


@dataclass(frozen=True, slots=True)
class PaddedPatches:
    """Anthropic's patches of 28 pixels (platform.claude.com/docs/en/build-with-claude/vision, and vision-coordinates).

    A picture is shrunk to the largest size of its shape that keeps both limits, then padded to whole patches.

    Attributes:
        side: longest side in pixels.
        most: most tokens, one a patch.
    """

    side: int
    most: int

    def __call__(self, width: int, height: int, /) -> int:
        """Give the patches of the size that is looked at."""
        long, short = max(width, height), min(width, height)

        def patches(side: int) -> int:
            return _grid(side, max(round(side * short / long), 1), 28)

        def too_large(side: int) -> bool:
            return side > self.side or patches(side) > self.most

        # 28 divides the sides of both tiers, so padding never goes over them.
        return patches(bisect_left(range(1, long + 1), True, key=too_large) or 1)


@dataclass(frozen=True, slots=True)
class PixelArea:
    """Anthropic's older estimate (docs.anthropic.com/en/docs/build-with-claude/vision until 2026): pixels / 750.

    Attributes:
        per: pixels of a token.
        side: longest side in pixels; larger pictures are shrunk.
        most: most tokens; pictures that cost more are shrunk.
    """

    per: int = 750
    side: int = 1568
    most: int = 1600

    def __call__(self, width: int, height: int, /) -> int:
        """Give the area of the shrunk picture in tokens."""
        shrink = min(self.side / max(width, height), 1)
        return max(min(math.ceil(width * shrink * height * shrink / self.per), self.most), 1)


@dataclass(frozen=True, slots=True)
class CropTiles:
    """Gemini 2's tiles (cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding).

    A tile's side is the picture's short side / 1.5, at least 256 and at most 768 pixels. Google's other page
    (ai.google.dev/gemini-api/docs/image-understanding) calls its formula rough and has no such limits.

    Attributes:
        tokens: of a tile, and of a picture of at most 384 x 384.
    """

    tokens: int = 258

    @property
    def most(self) -> int:
        """A strip of 12 x 2 tiles of 256 pixels, the longest side being 3072."""
        return 24 * self.tokens

    def __call__(self, width: int, height: int, /) -> int:
        """Give the tiles times their tokens."""
        long, short = _fit(max(width, height), min(width, height), 3072)
        if long <= 384:
            return self.tokens
        return self.tokens * _grid(long, short, min(max(int(short / 1.5), 256), 768))


def _fit(long: int, short: int, side: int) -> tuple[int, int]:
    return (side, max(round(short * side / long), 1)) if long > side else (long, short)


def _grid(width: int, height: int, side: int) -> int:
    return math.ceil(width / side) * math.ceil(height / side)
