"""From RGB pictures to normalized pixels: only Pillow's resize and arithmetic."""

from __future__ import annotations

import json
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from independent.transformer import Array


def settings_of(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint says of its pictures."""
    settings: dict[str, Any] = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    return settings


def squashed(rgb: Array, settings: dict[str, Any]) -> Array:
    """Resize to the model's size, whatever the aspect: BLIP, SigLIP, ViT."""
    return _normalized(_resized(rgb, settings["size"]["width"], settings["size"]["height"], settings), settings)


def cropped(rgb: Array, settings: dict[str, Any]) -> Array:
    """Resize the short side and cut the middle square out: CLIP."""
    size = settings["size"]
    short = size if isinstance(size, int) else size["shortest_edge"]
    high, wide = rgb.shape[:2]
    if wide <= high:
        resized = _resized(rgb, short, int(short * high / wide), settings)
    else:
        resized = _resized(rgb, int(short * wide / high), short, settings)
    top, left = (resized.shape[0] - short) // 2, (resized.shape[1] - short) // 2
    return _normalized(resized[top : top + short, left : left + short], settings)


def in_patches(rgb: Array, settings: dict[str, Any]) -> Array:
    """Resize to the largest size of whole patches that keeps the aspect: SigLIP 2 NaFlex."""
    size, most = settings["patch_size"], settings["max_num_patches"]
    rows, columns = grid(rgb.shape[0], rgb.shape[1], size, most)
    return _normalized(_resized(rgb, columns * size, rows * size, settings), settings)


def grid(high: int, wide: int, size: int, most: int) -> tuple[int, int]:
    """Return the patches down and across at the largest scale whose patches are at most ``most``.

    Each side is scaled and rounded up to whole patches. The number of patches changes only at scales where a side
    fills its patches exactly, so those are all that need trying; big_vision looks no further than a scale of 100.
    """
    exact = {Fraction(number * size, side) for number in range(1, most + 1) for side in (high, wide)}
    sizes = [
        (ceil(scale * high / size), ceil(scale * wide / size))
        for scale in sorted(exact | {Fraction(100)})
        if scale <= 100
    ]
    return [pair for pair in sizes if pair[0] * pair[1] <= most][-1]


def _resized(rgb: Array, wide: int, high: int, settings: dict[str, Any]) -> Array:
    return np.asarray(Image.fromarray(rgb).resize((wide, high), Image.Resampling(settings["resample"])))


def _normalized(rgb: Array, settings: dict[str, Any]) -> Array:
    scaled = rgb.astype(np.float64) / 255
    mean, deviation = np.array(settings["image_mean"]), np.array(settings["image_std"])
    return ((scaled - mean) / deviation).transpose(2, 0, 1)
