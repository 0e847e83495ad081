"""Pictures of every size and mode that meets an encoder, each with the RGB pixels that it stands for.

The pixels are worked out here, in NumPy, not by the package or by Pillow's conversions.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

SIZES = (
    (1, 1),
    (1, 40),
    (40, 1),
    (3, 64),
    (8, 200),
    (200, 8),
    (10, 14),
    (32, 32),
    (33, 32),
    (35, 64),
    (150, 97),
    (97, 411),
)
"""Height and width: a point, lines, strips, smaller and larger than the tiny models' 32, odd margins to crop."""


@dataclass(frozen=True, eq=False)
class OddPicture:
    """A picture as a user gives it.

    Attributes:
        name: for test ids.
        source: a PIL image, or the contents of a file.
        rgb: what it shows, shape (height, width, 3), uint8.
    """

    name: str
    source: Any
    rgb: np.ndarray


def odd_pictures() -> list[OddPicture]:
    """Return all of them; the same at every call."""
    draws = np.random.default_rng(5)
    sizes = []
    for high, wide in SIZES:
        rgb = draws.integers(0, 256, (high, wide, 3), dtype=np.uint8)
        sizes.append(OddPicture(f"{high}x{wide}", Image.fromarray(rgb), rgb))
    return [*sizes, *_gray(draws), *_transparent(draws), *_other(draws), _turned(draws)]


def _noise(draws: np.random.Generator, *shape: int) -> np.ndarray:
    return draws.integers(0, 256, shape, dtype=np.uint8)


def _three(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


def _gray(draws: np.random.Generator) -> list[OddPicture]:
    gray, deep = _noise(draws, 21, 30), draws.integers(0, 65536, (21, 30)).astype(np.uint16)
    scaled = np.rint(deep / 65535 * 255).astype(np.uint8)
    dark = _noise(draws, 21, 30) > 127
    return [
        OddPicture("L", Image.fromarray(gray), _three(gray)),
        OddPicture("16 bit", Image.fromarray(deep), _three(scaled)),
        OddPicture("1", Image.fromarray(dark), _three(np.where(dark, 255, 0).astype(np.uint8))),
    ]


def _transparent(draws: np.random.Generator) -> list[OddPicture]:
    """Lay clear pixels on white; only full and no transparency, so that no rounding is in question."""
    clear = _noise(draws, 25, 18) > 127
    alpha = np.where(clear, 0, 255).astype(np.uint8)
    gray, color = _noise(draws, 25, 18), _noise(draws, 25, 18, 3)
    numbers, colors = draws.integers(0, 4, (25, 18)).astype(np.uint8), _noise(draws, 4, 3)
    palette = Image.frombytes("P", (18, 25), numbers.tobytes())
    palette.putpalette(colors.ravel().tolist())
    stream = io.BytesIO()
    palette.save(stream, "PNG", transparency=2)
    return [
        OddPicture(
            "LA",
            Image.merge("LA", (Image.fromarray(gray), Image.fromarray(alpha))),
            _three(np.where(clear, 255, gray).astype(np.uint8)),
        ),
        OddPicture(
            "RGBA",
            Image.fromarray(np.dstack([color, alpha])),
            np.where(clear[..., None], 255, color).astype(np.uint8),
        ),
        OddPicture(
            "P with a clear color",
            stream.getvalue(),
            np.where((numbers == 2)[..., None], 255, colors[numbers]).astype(np.uint8),
        ),
    ]


def _other(draws: np.random.Generator) -> list[OddPicture]:
    """Print inks: the black one darkens all others, in Pillow's whole numbers, (a b + 128) (1 + 1/256) / 256."""
    inks = _noise(draws, 19, 44, 4)
    light = 255 - inks[..., 3:].astype(np.int64)
    product = inks[..., :3].astype(np.int64) * light + 128
    rgb = (light - (((product >> 8) + product) >> 8)).clip(0, 255).astype(np.uint8)
    return [OddPicture("CMYK", Image.frombytes("CMYK", (44, 19), inks.tobytes()), rgb)]


def _turned(draws: np.random.Generator) -> OddPicture:
    """Save as a phone does that was held upright: the picture lies on its side, and a tag says so."""
    rgb = _noise(draws, 48, 20, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(np.rot90(rgb).copy()).save(stream, "PNG", exif=exif)
    return OddPicture("turned by EXIF", stream.getvalue(), rgb)
