"""Photographs that no camera took: noise at all scales, objects with edges, sensor grain, and a phone's metadata."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Plane = npt.NDArray[np.float32]

_ORIENTATION, _MAKER = 0x0112, 0x010F
_TURNED = 6  # held upright: the sensor's rows are the picture's columns
_QUALITY = 92


def photograph(seed: int, width: int = 4000, height: int = 3000) -> bytes:
    """Make a JPEG file as a phone writes it.

    Brightness has nearly the spectrum of natural pictures, whose amplitude falls with the frequency, so that all
    octaves have the same contrast (D. J. Field, 1987, Journal of the Optical Society of America A 4:2379);
    colors change more slowly. Objects with sharp edges lie on it, then the grain of a sensor.

    Args:
        seed: another one gives another picture.
        width: pixels.
        height: pixels.

    Returns:
        The file, with an sRGB profile; every second one lies on its side and says so in EXIF.
    """
    draws = np.random.default_rng(seed)
    light = _clouds(draws, width, height, finest=10)
    chroma = [_clouds(draws, width, height, finest=5) for _ in range(2)]
    _put_objects(draws, light, chroma)
    light += draws.standard_normal(light.shape, dtype=np.float32) * 0.06
    planes = [_bytes(light, 48), *(_bytes(plane, 18) for plane in chroma)]
    exif = Image.Exif()
    exif[_MAKER] = "Commonscale"
    exif[_ORIENTATION] = _TURNED if seed % 2 else 1
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    picture = Image.merge("YCbCr", [Image.fromarray(plane) for plane in planes])
    picture.save(stream, "JPEG", quality=_QUALITY, exif=exif, icc_profile=profile)
    return stream.getvalue()


def _clouds(draws: np.random.Generator, width: int, height: int, *, finest: int) -> Plane:
    """Return noise of deviation 1 with octaves from 4 to 2 ** finest cells a side, each a little fainter."""
    total = Image.new("F", (4, 4))
    for octave in range(2, finest + 1):
        cells = draws.standard_normal((2**octave, 2**octave), dtype=np.float32) / np.float32(1.2**octave)
        finer = total.resize((2**octave, 2**octave), Image.Resampling.BICUBIC)
        total = Image.fromarray(np.asarray(finer) + cells)
    plane = np.array(total.resize((width, height), Image.Resampling.BICUBIC))
    level: Plane = (plane - plane.mean()) / plane.std()
    return level


def _put_objects(draws: np.random.Generator, light: Plane, chroma: list[Plane]) -> None:
    """Lay 40 slanted boxes over the planes, with their own brightness and color and half of the texture below."""
    height, width = light.shape
    for _ in range(40):
        wide, high = draws.integers(width // 60, width // 5), draws.integers(height // 60, height // 4)
        left, top = draws.integers(0, width - wide), draws.integers(0, height - high)
        slant = draws.uniform(-0.4, 0.4)
        y, x = np.mgrid[:high, :wide]
        inside = np.abs(x - wide / 2 + slant * (y - high / 2)) < wide / 2 - abs(slant) * high / 2
        for plane in (light, *chroma):
            box = plane[top : top + high, left : left + wide]
            box[inside] = box[inside] * 0.5 + draws.normal()


def _bytes(plane: Plane, contrast: float) -> npt.NDArray[np.uint8]:
    values: npt.NDArray[np.uint8] = np.rint(np.clip(plane * contrast + 128, 0, 255)).astype(np.uint8)
    return values
