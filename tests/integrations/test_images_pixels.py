"""Every pixel mode, orientation and kind of damage, each decided as the docstrings of the modules say."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from commonscale.core.errors import ImageError
from commonscale.encoders.images import FORMATS, ImageOptions, load_image
from commonscale.encoders.pixels import _eight_bits

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")


ORIENTATION = 0x0112
rng = np.random.default_rng(7)
NOISE = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def pixels(source: object, options: ImageOptions | None = None) -> np.ndarray:
    image = load_image(source, options)
    assert image.mode == "RGB"
    return np.asarray(image)


# --- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(kind, orientation):
    image = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    assert (pixels(content) == np.asarray(expected)).all()
    assert pixels(content).shape[:2] == ((16, 12) if orientation >= 5 else (12, 16))


def test_orientation_of_a_phone_picture_by_hand():
    upright = NOISE
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # row 0 is the right side: turn a quarter clockwise to see it upright
    content = encoded(Image.fromarray(np.rot90(upright).copy()), "PNG", exif=exif)
    assert (pixels(content) == upright).all()


@pytest.mark.parametrize("value", [0, 9, 200])
def test_orientation_out_of_range_counts_as_upright(value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    assert (pixels(encoded(Image.fromarray(NOISE), exif=exif)) == NOISE).all()


def test_damaged_exif_counts_as_upright():
    image = Image.fromarray(NOISE)
    content = encoded(image, "PNG", exif=b"Exif\0\0nonsense here")
    assert (pixels(content) == NOISE).all()


# --- modes


def test_rgb_is_exact():
    assert (pixels(encoded(Image.fromarray(NOISE))) == NOISE).all()


def test_gray():
    gray = NOISE[:, :, 0]
    assert (pixels(encoded(Image.fromarray(gray))) == gray[:, :, None]).all()


def test_one_bit():
    bits = NOISE[:, :, 0] > 127
    assert (pixels(encoded(Image.fromarray(bits))) == np.where(bits, 255, 0)[:, :, None]).all()


def laid_on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[:, :, None] / 255
    return color * share + 255 * (1 - share)


def test_alpha_is_laid_on_white():
    alpha = rng.integers(0, 256, NOISE.shape[:2], dtype=np.uint8)
    image = Image.fromarray(np.dstack([NOISE, alpha]))
    assert np.abs(pixels(encoded(image)) - laid_on_white(NOISE, alpha)).max() <= 1


def test_gray_with_alpha_is_laid_on_white():
    alpha = rng.integers(0, 256, NOISE.shape[:2], dtype=np.uint8)
    gray = NOISE[:, :, 0]
    image = Image.merge("LA", (Image.fromarray(gray), Image.fromarray(alpha)))
    assert np.abs(pixels(encoded(image)) - laid_on_white(gray[:, :, None], alpha)).max() <= 1


def test_black_ink_on_a_transparent_ground_stays_readable():
    image = Image.new("RGBA", (4, 1), (0, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 255))
    assert pixels(encoded(image))[0, :, 0].tolist() == [255, 255, 0, 255]


def test_premultiplied_alpha():
    image = Image.new("RGBA", (2, 1), (200, 100, 0, 128))
    expected = laid_on_white(np.array([[[200, 100, 0]]]), np.array([[128]]))
    assert np.abs(pixels(image.convert("RGBa"))[0, 0] - expected[0, 0]).max() <= 2
    gray = Image.new("LA", (2, 1), (200, 128))
    assert abs(int(pixels(gray.convert("La"))[0, 0, 0]) - (200 * 128 + 255 * 127) / 255) <= 2


def palette_picture() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette(kind):
    assert pixels(encoded(palette_picture(), kind))[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


@pytest.mark.parametrize(
    ("kind", "transparency"), [("PNG", 1), ("GIF", 1), ("PNG", bytes([255, 0, 255]))], ids=["PNG", "GIF", "PNG-bytes"]
)
def test_palette_with_transparency(kind, transparency):
    content = encoded(palette_picture(), kind, transparency=transparency)
    assert pixels(content)[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_palette_with_alpha():
    image = Image.new("RGBA", (1, 1), (10, 20, 30, 255)).convert("PA")
    assert pixels(image).shape == (1, 1, 3)


def test_transparent_color_in_rgb_and_gray():
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    image.putpixel((1, 0), (0, 0, 0))
    assert pixels(encoded(image, transparency=(0, 0, 0)))[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    gray = image.convert("L")
    first = gray.getpixel((0, 0))
    assert pixels(encoded(gray, transparency=0))[0].tolist() == [[first] * 3, [255] * 3]


def test_cmyk():
    image = Image.new("CMYK", (2, 1), (0, 255, 255, 0))
    assert pixels(encoded(image, "TIFF"))[0, 0].tolist() == [255, 0, 0]
    red, green, blue = pixels(encoded(image, "JPEG", quality=95))[0, 0].tolist()
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_color_spaces(mode):
    image = Image.fromarray(NOISE)
    expected = np.asarray(image.convert(mode).convert("RGB"))
    assert (pixels(image.convert(mode)) == expected).all()


def test_lab():
    from PIL import ImageCms

    red = Image.new("RGB", (2, 2), (255, 0, 0))
    lab = ImageCms.profileToProfile(
        red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(pixels(lab)[0, 0].astype(int) - [255, 0, 0]).max() <= 6  # LAB has 8 bits a channel


SIXTEEN = np.array([[0, 128, 257, 32768, 40000, 65535]], dtype=np.uint16)
EIGHT = [0, 0, 1, 128, 156, 255]  # v / 257, rounded


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    content = encoded(Image.fromarray(SIXTEEN), kind)
    assert Image.open(io.BytesIO(content)).mode.startswith("I")
    assert pixels(content)[0, :, 1].tolist() == EIGHT


def test_sixteen_bits_in_big_endian_order():
    image = Image.frombytes("I;16B", (6, 1), SIXTEEN.astype(">u2").tobytes())
    assert pixels(image)[0, :, 0].tolist() == EIGHT


def test_thirty_two_bit_integers_in_the_range_of_sixteen():
    assert pixels(Image.fromarray(SIXTEEN.astype(np.int32)))[0, :, 2].tolist() == EIGHT


def test_thirty_two_bit_integers_beyond_it_are_scaled_from_least_to_greatest():
    values = np.array([[-1000, 0, 99_000]], dtype=np.int32)
    assert pixels(Image.fromarray(values))[0, :, 0].tolist() == [0, 3, 255]


def test_sixteen_bit_colors(tmp_path):
    """Pillow itself reads a 16-bit RGB PNG as 8 bits; its file is made by hand, since Pillow cannot write one."""
    row = struct.pack(">6H", 65535, 32768, 0, 257, 40000, 65535)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + row))
    result = pixels(content + chunk(b"IEND", b""))[0].astype(int)
    assert np.abs(result - [[255, 128, 0], [1, 156, 255]]).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.4, 255.0], [0, 100, 255]), ([-5.0, 0.0, 995.0], [0, 1, 255])],
)
def test_floats(values, expected):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert image.mode == "F"
    assert pixels(image)[0, :, 0].tolist() == expected
    assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() == expected


def test_floats_all_equal_and_out_of_range_are_black():
    assert pixels(Image.fromarray(np.full((1, 2), -3.0, dtype=np.float32))).tolist() == [[[0, 0, 0]] * 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_not_finite(bad):
    with pytest.raises(ImageError, match="NaN or infinite"):
        load_image(Image.fromarray(np.array([[0.0, bad]], dtype=np.float32)))


@pytest.mark.parametrize("kind", ["u2", ">u2", "<i4", "<f4"])
@pytest.mark.parametrize("shape", [(7, 5), (50, 3), (1, 90), (90, 1)])
@pytest.mark.parametrize("span", [(0, 1), (0, 200), (0, 65535), (-300, 70_000)])
def test_gray_is_the_same_in_bands_as_in_one_piece(kind, shape, span, monkeypatch):
    numbers = np.random.default_rng(1)
    low, high = span if kind in ("<i4", "<f4") else (0, 65535)
    values = numbers.uniform(low, high, shape).astype(kind)
    whole = scaled(values)
    monkeypatch.setattr("commonscale.encoders.pixels._BAND", 16)
    assert np.array_equal(scaled(values), whole)
    wide, ranges = values.astype(float), (1.0, 255.0) if kind == "<f4" else (65535.0,)
    tops = [top for top in ranges if wide.min() >= 0.0 and wide.max() <= top]
    start, top = (0.0, tops[0]) if tops else (wide.min(), wide.max() - wide.min() or 1.0)
    assert np.array_equal(whole, np.rint((wide - start) * (255.0 / top)))


def scaled(values: np.ndarray) -> np.ndarray:
    return _eight_bits(values, is_float=values.dtype.kind == "f")


def test_scans_in_sixteen_bits_take_little_more_than_the_result():
    values = rng.integers(0, 65536, (2000, 3000)).astype(np.uint16)
    tracemalloc.start()
    scaled(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * values.size


# --- frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(kind):
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue", "lime")]
    settings = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **settings)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert (pixels(content) == [255, 0, 0]).all()


def test_the_callers_animation_stays_at_its_frame():
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "blue")]
    image = Image.open(io.BytesIO(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    image.seek(1)
    assert (pixels(image) == [0, 0, 255]).all()
    assert image.tell() == 1


# --- damage and limits


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_truncated(kind):
    large = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = encoded(large, kind)
    with pytest.raises(ImageError, match=r"damaged|not a picture"):
        load_image(content[: len(content) // 2])


def test_truncated_pil_image_of_the_caller():
    content = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")
    with pytest.raises(ImageError, match="damaged"):
        load_image(Image.open(io.BytesIO(content[: len(content) // 2])))


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path.read_bytes()], ids=["file", "bytes"])
def test_empty(tmp_path, make):
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(ImageError, match="empty"):
        load_image(make(path))


@pytest.mark.parametrize(
    "content",
    [b"hello, this is a text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7 ...", b"\0", bytes(range(256))],
    ids=["text", "svg", "pdf", "null", "binary"],
)
def test_not_a_picture(tmp_path, content):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"picture\.png.*not a picture in a format that is read"):
        load_image(path)


def test_eps_is_refused_because_it_would_start_ghostscript():
    content = encoded(Image.fromarray(NOISE), "EPS")
    assert Image.open(io.BytesIO(content)).format == "EPS"
    with pytest.raises(ImageError, match="not a picture in a format"):
        load_image(content)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is as large as given."""
    content = bytearray(encoded(Image.new("1", (8, 8))))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def test_decompression_bomb_between_pillows_warning_and_its_error():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ImageError, match="12000 x 10000 is more than max_pixels=89478485"):
            load_image(bomb(12_000, 10_000))
    with pytest.raises(ImageError, match="too many pixels"):  # the suite turns Pillow's warning into an error
        load_image(bomb(12_000, 10_000))


def test_decompression_bomb_beyond_pillows_error():
    with pytest.raises(ImageError, match="too many pixels"):
        load_image(bomb(60_000, 60_000))


def test_the_pixel_limit_is_the_callers_and_global_state_stays():
    before = Image.MAX_IMAGE_PIXELS
    content = encoded(Image.fromarray(NOISE))
    with pytest.raises(ImageError, match="16 x 12 is more than max_pixels=191"):
        load_image(content, ImageOptions(max_pixels=191))
    with pytest.raises(ImageError, match="max_pixels=191"):
        load_image(Image.fromarray(NOISE), ImageOptions(max_pixels=191))
    assert load_image(content, ImageOptions(max_pixels=192)).size == (16, 12)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", FORMATS)
def test_too_many_pixels_are_refused_before_anything_is_decoded(kind, monkeypatch):
    Image.init()
    name = {"MPO": "JPEG"}.get(kind, kind)  # an MPO of one picture is a JPEG
    if name not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {name}")
    content = encoded(Image.fromarray(NOISE), name)
    plugin = type(Image.open(io.BytesIO(content)))

    def decoding(*args: object) -> None:
        raise AssertionError("decoded")

    for base in plugin.__mro__[: plugin.__mro__.index(Image.Image)]:
        monkeypatch.setattr(base, "load", decoding)
    with pytest.raises(ImageError, match="16 x 12 is more than max_pixels=191"):
        load_image(content, ImageOptions(max_pixels=191))


def test_icons_are_refused():
    """Pillow decodes what lies in an ICO before it tells how large it is."""
    stream = io.BytesIO()
    Image.fromarray(NOISE).resize((16, 16)).save(stream, "ICO")
    with pytest.raises(ImageError, match="not a picture in a format that is read"):
        load_image(stream.getvalue())


def test_strips_are_refused():
    with pytest.raises(ImageError, match="1 x 201 is narrower than max_aspect_ratio=200"):
        load_image(Image.new("RGB", (1, 201)))
    assert load_image(Image.new("RGB", (200, 1))).size == (200, 1)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_no_pixels(size):
    with pytest.raises(ImageError, match="has no pixels"):
        load_image(Image.new("RGB", size))


def test_damage_anywhere_gives_a_picture_or_an_image_error():
    """Flip bytes all over small files of every format: nothing but ImageError may come out."""
    draws = np.random.default_rng(3)
    image = Image.fromarray(NOISE)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"):
        content = encoded(image, kind)
        for _ in range(60):
            damaged = bytearray(content)
            for place in draws.integers(0, len(content), 3):
                damaged[place] = draws.integers(0, 256)
            with suppress(ImageError):
                assert load_image(bytes(damaged)).mode == "RGB"


def test_threads(tmp_path):
    paths = []
    for number in range(8):
        paths.append(Path(tmp_path / f"{number}.png"))
        Image.new("RGB", (20, 20), (number, 0, 0)).save(paths[-1])
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(load_image, paths * 5))
    assert [image.getpixel((0, 0))[0] for image in images] == [*range(8)] * 5
