"""Pictures as data URIs: what stays as it is, what is written anew, and that nothing is larger than allowed."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commonscale.core.errors import ImageError
from commonscale.encoders import load_image
from commonscale.encoders.services.pictures import ImageRules, data_uri

RULES = ImageRules(("JPEG", "PNG", "WEBP"), 5_000_000)


def file_of(image: Image.Image, form: str, **settings: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **settings)
    return stream.getvalue()


def sent(content: bytes, rules: ImageRules = RULES) -> tuple[str, bytes, Image.Image]:
    """Return the type that is claimed, the file that arrives, and the picture in it."""
    head, body = data_uri(load_image(content), content, rules).split(",")
    arrived = base64.b64decode(body, validate=True)
    picture = Image.open(io.BytesIO(arrived))
    picture.load()
    assert head == f"data:image/{(picture.format or '').lower()};base64"
    assert len(arrived) <= rules.max_bytes
    return head, arrived, picture


def gradient(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8)).convert(mode)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_upright_rgb_files_stay_byte_for_byte(form: str) -> None:
    content = file_of(gradient(), form)
    assert sent(content)[1] == content


def test_formats_that_the_service_lacks_are_written_anew() -> None:
    content = file_of(gradient(), "WEBP", lossless=True)
    _, _, arrived = sent(content, ImageRules(("JPEG", "PNG"), 5_000_000))
    assert arrived.format == "JPEG"
    assert np.abs(np.asarray(arrived).astype(int) - np.asarray(gradient())).mean() < 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (file_of(gradient("RGBA"), "PNG"), "transparency"),
        (file_of(gradient("L"), "PNG"), "gray"),
        (file_of(gradient("CMYK"), "JPEG"), "inks"),
        (file_of(gradient(), "PNG", transparency=(0, 0, 255)), "a transparent color"),
        (file_of(gradient().quantize(16), "GIF"), "a palette"),
        (file_of(gradient(), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48))]), "more frames"),
        (file_of(gradient(), "BMP"), "another format"),
        (file_of(gradient(), "TIFF"), "another format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_all_other_files_arrive_as_they_are_read(content: bytes, why: str) -> None:
    _, arrived, picture = sent(content)
    assert arrived != content
    assert picture.mode == "RGB"
    assert getattr(picture, "n_frames", 1) == 1
    read = np.asarray(load_image(content)).astype(int)
    assert np.abs(np.asarray(picture) - read).mean() < 2


def test_turned_pictures_arrive_upright() -> None:
    turned = Image.new("RGB", (60, 40), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    content = file_of(turned, "JPEG", exif=exif)
    _, _, arrived = sent(content)
    assert arrived.size == (40, 60)
    assert 0x0112 not in arrived.getexif()


def test_drawings_stay_exact() -> None:
    drawing = Image.new("RGB", (300, 200), "white")
    drawing.paste((10, 20, 30), (50, 50, 120, 90))
    _, _, arrived = sent(file_of(drawing, "BMP"))
    assert arrived.format == "PNG"
    np.testing.assert_array_equal(np.asarray(arrived), np.asarray(drawing))


@pytest.mark.parametrize("most", [200_000, 20_000, 2_000])
def test_what_is_too_large_is_scaled_down_no_more_than_needed(most: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    _, arrived, picture = sent(file_of(Image.fromarray(noise), "PNG"), ImageRules(("JPEG", "PNG"), most))
    assert picture.format == "JPEG"
    assert picture.width / picture.height == pytest.approx(4 / 3, rel=0.1)
    assert len(arrived) > 0.5 * most or picture.size == (400, 300)


def test_sides_beyond_jpeg_are_scaled_down() -> None:
    pixels = np.zeros((2, 70_000, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(70_000) % 251
    pixels[..., 1] = np.arange(70_000) % 241
    long = Image.fromarray(pixels)
    uri = data_uri(long, None, RULES)
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert picture.format == "JPEG"
    assert picture.width <= 65_500


def test_a_limit_that_nothing_meets() -> None:
    with pytest.raises(ImageError, match="does not fit into 100 bytes"):
        data_uri(gradient(), None, ImageRules(("JPEG", "PNG"), 100))
