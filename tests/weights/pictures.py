"""Pictures: those that documented numbers were computed on, and those that are drawn here."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import ImageError
from commonscale.core.files import atomic_path
from commonscale.encoders import ImageOptions
from commonscale.encoders.downloads import download

FOLDER = "COMMONSCALE_PICTURES"
"""Environment variable: a folder where the pictures below lie under their names."""

_GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Published:
    """A picture of others, which is not in this repository.

    Attributes:
        url: where it is.
        sha256: of its file; empty where it was not at hand when this table was written.
    """

    url: str
    sha256: str = ""


PUBLISHED = {
    "CLIP.png": Published(
        f"{_GITHUB}/openai/CLIP/d05afc436d78f1c48dc0dbf8e5980a9d471f35f6/CLIP.png",
        "308a3ca4503f1c7a07803916c369d78c4ef501e5ab7fc727da9b5e1d2f9ec85b",
    ),
    "000000039769.jpg": Published("http://images.cocodataset.org/val2017/000000039769.jpg"),
    "000000039769.png": Published(
        f"{_GITHUB}/huggingface/transformers/d05a9215b4f311963e465b99753ac711fb828893"
        "/tests/fixtures/tests_samples/COCO/000000039769.png"
    ),
    "blip-test-image.jpg": Published(
        "https://huggingface.co/hf-internal-testing/blip-test-image/resolve/main/demo.jpg"
    ),
    "blip-demo.jpg": Published("https://storage.googleapis.com/sfr-vision-language-research/BLIP/demo.jpg"),
    "merlion.png": Published(
        f"{_GITHUB}/salesforce/LAVIS/506965b9c4a18c1e565bd32acaccabe0198433f7/docs/_static/merlion.png",
        "f1f3b6a507ec92e8f47ac6d7c64e11b03fcba8c550bcb6851f80e261e8951431",
    ),
    "two_dogs_in_snow.jpg": Published(
        f"{_GITHUB}/UKPLab/sentence-transformers/85ec64559f4414aa536eca4bf53538291e0a333f"
        "/examples/sentence_transformer/applications/image-search/two_dogs_in_snow.jpg",
        "a7b8ccddc7bdebce79616b3a732ebcbd9793b5bc532ff77621bf3d62517e5c59",
    ),
}


def published(name: str, options: ImageOptions | None = None) -> Path:
    """Give the file of a picture of others: from the folder named by the environment, the cache, or the network.

    Args:
        name: a key of ``PUBLISHED``.
        options: how it is downloaded.

    Returns:
        Its file. The test is skipped if it cannot be had.
    """
    picture = PUBLISHED[name]
    if folder := os.environ.get(FOLDER):
        path = Path(folder) / name
        if not path.is_file():
            pytest.skip(f"{FOLDER}={folder} has no {name}; get it from {picture.url}")
    else:
        path = _cache() / name
        if not path.is_file():
            _fetch(picture.url, path, options or ImageOptions())
    if picture.sha256:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found == picture.sha256, f"{path} is another picture than {picture.url} was: SHA-256 {found}"
    return path


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "commonscale" / "pictures"


def _fetch(url: str, path: Path, options: ImageOptions) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        pytest.skip(f"HF_HUB_OFFLINE is set, and {path} is not there; get it from {url}, or set {FOLDER}")
    try:
        content = download(url, options)
    except ImageError as error:
        pytest.skip(f"{url} cannot be had: {error}; download it to a folder and set {FOLDER} to that folder")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def drawn() -> dict[str, Any]:
    """Draw pictures of several shapes, the same to the last bit on every machine: whole numbers in numpy only."""
    from PIL import Image

    made = {}
    for name, (width, height) in {"wide": (640, 360), "tall": (97, 331), "small": (20, 20), "even": (224, 224)}.items():
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        red = 255 * x // max(width - 1, 1)
        green = 255 * y // max(height - 1, 1)
        squares = 255 * ((x // 16 + y // 16) % 2)
        inside = (2 * x - width) ** 2 + (2 * y - height) ** 2 < min(width, height) ** 2 // 2
        pixels = np.stack([np.where(inside, 220, red), np.where(inside, 30, green), np.where(inside, 40, squares)], -1)
        made[name] = Image.fromarray(pixels.astype(np.uint8))
    return made


def digest(picture: Any) -> str:
    """Identify a picture by its size and pixels."""
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()


def circles() -> dict[str, Any]:
    """Draw the three pictures of SigLIP 2's own checks: a blue disk with a green border on red ground.

    The geometry is that of huggingface/transformers, src/transformers/models/siglip2/convert_siglip2_to_hf.py: the
    radius is seven times an eighth, rounded down, of half the shorter side; the border a twentieth of the width.
    """
    from PIL import Image, ImageDraw

    made = {}
    for name, (width, height) in {"small": (224, 224), "large": (1024, 1024), "wide": (1024, 224)}.items():
        picture = Image.new("RGB", (width, height), "red")
        middle_x, middle_y = width // 2, height // 2
        radius = min(middle_x, middle_y) // 8 * 7
        box = (middle_x - radius, middle_y - radius, middle_x + radius, middle_y + radius)
        ImageDraw.Draw(picture).ellipse(box, fill="blue", outline="green", width=width // 20)
        made[name] = picture
    return made


def seen_by_openai_clip(path: Path) -> Any:
    """Prepare a picture in the order of openai/CLIP: resized to 224, cut, and only then its transparency dropped.

    CLIP.png is transparent for two thirds, and black where it is. So the documented probabilities are those of a
    diagram on black ground, where the encoders of this library would lay it on white.
    """
    from PIL import Image

    with Image.open(path) as picture:
        short = min(picture.size)
        width, height = (int(224 * side / short) for side in picture.size)
        resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    return resized.crop((left, top, left + 224, top + 224)).convert("RGB")
