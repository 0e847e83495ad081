"""What is sent of a picture: its pixels, upright, small, in sRGB, and nothing else."""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonscale.core.errors import ImageError
from commonscale.encoders.images import ImageOptions, load_image
from commonscale.prompting import Pictures, PreparedPicture

Image = pytest.importorskip("PIL.Image")
ImageCms = pytest.importorskip("PIL.ImageCms")

ORIENTATION, GPS, ARTIST = 0x0112, 0x8825, 0x013B


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def gradient(width: int = 240, height: int = 160) -> np.ndarray:
    """Colors that change slowly in three directions, (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    shades = (x / width, y / height, (x + y) / (width + height))
    return np.rint(np.stack(shades, axis=2) * 255).astype(np.uint8)


@cache
def photo(width: int, height: int, seed: int = 3) -> Image.Image:
    """Noise at many scales, the coarse ones strongest, as in photographs; no two neighbors are equal for long."""
    draws = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for power in range(1, 8):
        coarse = draws.normal(size=(2**power, 2**power, 3)) / 1.7**power
        for channel in range(3):
            plane = Image.fromarray(coarse[..., channel].astype(np.float32))
            total[..., channel] += np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(np.rint(np.clip(total * 60 + 128, 0, 255)).astype(np.uint8))


def drawing(width: int, height: int) -> Image.Image:
    """A bar chart: few colors, sharp edges."""
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    for number, color in enumerate([(200, 30, 30), (30, 120, 30), (30, 30, 160)]):
        left = (2 * number + 1) * width // 7
        pixels[height * (number + 1) // 5 :, left : left + width // 7] = color
    return Image.fromarray(pixels)


def shown(prepared: PreparedPicture) -> np.ndarray:
    """What a model sees, (height, width, 3)."""
    with Image.open(io.BytesIO(prepared.content)) as image:
        assert image.mode in ("L", "RGB")
        assert image.size == (prepared.width, prepared.height)
        assert {"image/jpeg": "JPEG", "image/png": "PNG"}[prepared.mime_type] == image.format
        return np.asarray(image.convert("RGB")).astype(float)


def noise_ratio(seen: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels: 10 log10(255^2 / mean squared error)."""
    return float(10 * np.log10(255**2 / max(((seen - expected) ** 2).mean(), 1e-12)))


# --- pixel modes

COLOR = Image.fromarray(gradient())
ALPHA = Image.fromarray(gradient()[..., 2])


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(ALPHA)
    return image


def lab() -> Image.Image:
    space = ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(COLOR, ImageCms.createProfile("sRGB"), space, outputMode="LAB")


DEEP = (gradient()[..., 0].astype(np.uint16) * 257) ^ 0x80
MODES = {
    "1": COLOR.convert("1"),
    "L": COLOR.convert("L"),
    "P": COLOR.quantize(64),
    "RGB": COLOR,
    "RGBA": with_alpha(COLOR),
    "RGBa": with_alpha(COLOR).convert("RGBa"),
    "LA": with_alpha(COLOR.convert("L")),
    "La": with_alpha(COLOR.convert("L")).convert("La"),
    "PA": with_alpha(COLOR).convert("PA"),
    "CMYK": COLOR.convert("CMYK"),
    "YCbCr": COLOR.convert("YCbCr"),
    "HSV": COLOR.convert("HSV"),
    "LAB": lab(),
    "I;16": Image.fromarray(DEEP),
    "I;16B": Image.frombytes("I;16B", COLOR.size, DEEP.astype(">u2").tobytes()),
    "I": Image.fromarray(DEEP.astype(np.int32)),
    "F": Image.fromarray((DEEP / 65535).astype(np.float32)),
    "RGBX": COLOR.convert("RGBX"),
}
GRAY = {"1", "L", "LA", "La", "I;16", "I;16B", "I", "F"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("max_side", [240, 60], ids=["as-it-is", "shrunk"])
def test_every_pixel_mode(mode: str, max_side: int) -> None:
    """Against the picture that is embedded, whose modes are tested one by one, averaged over blocks in NumPy."""
    image = MODES[mode]
    assert image.mode == mode
    before = image.tobytes()
    expected = np.asarray(load_image(image)).astype(float)
    blocks = 240 // max_side
    expected = expected.reshape(160 // blocks, blocks, max_side, blocks, 3).mean(axis=(1, 3))
    prepared = Pictures(max_side=max_side).prepare(image)
    seen = shown(prepared)
    assert seen.shape == expected.shape
    # Halftones are all edges: JPEG blurs them where they are not shrunk.
    assert noise_ratio(seen, expected) > (15 if mode == "1" else 32)
    with Image.open(io.BytesIO(prepared.content)) as sent:
        assert (sent.mode == "L") is (mode in GRAY)
    assert image.tobytes() == before
    assert image.mode == mode


FILES = [
    ("1", "PNG"),
    ("1", "TIFF"),
    ("L", "JPEG"),
    ("L", "WEBP"),
    ("P", "PNG"),
    ("P", "GIF"),
    ("P", "BMP"),
    ("RGB", "JPEG"),
    ("RGB", "PNG"),
    ("RGB", "WEBP"),
    ("RGB", "PPM"),
    ("RGBA", "PNG"),
    ("RGBA", "WEBP"),
    ("LA", "PNG"),
    ("CMYK", "JPEG"),
    ("CMYK", "TIFF"),
    ("LAB", "TIFF"),
    ("I;16", "PNG"),
    ("I;16", "TIFF"),
    ("F", "TIFF"),
]


@pytest.mark.parametrize(("mode", "kind"), FILES)
def test_every_mode_in_files(mode: str, kind: str) -> None:
    content = encoded(MODES[mode], kind)
    expected = np.asarray(load_image(content)).astype(float).reshape(40, 4, 60, 4, 3).mean(axis=(1, 3))
    assert noise_ratio(shown(Pictures(max_side=60).prepare(content)), expected) > 30


@pytest.mark.parametrize(
    ("image", "transparency"),
    [
        (Image.new("P", (400, 400), 3), 3),
        (Image.new("P", (400, 400), 3), b"\xff\xff\xff\x00"),
        (Image.new("RGB", (400, 400), (10, 20, 30)), (10, 20, 30)),
        (Image.new("L", (400, 400), 10), 10),
    ],
    ids=["index", "alpha-of-each", "color", "shade"],
)
def test_a_color_that_stands_for_transparency_is_white(image: Image.Image, transparency: object) -> None:
    image = image.copy()
    if image.mode == "P":
        image.putpalette([value for index in range(4) for value in (index, index, index)])
    image.paste(Image.new(image.mode, (400, 200), 0), (0, 0))
    seen = shown(Pictures(max_side=100).prepare(encoded(image, "PNG", transparency=transparency)))
    assert seen[:45].max() <= 5
    assert seen[55:].min() >= 250


def test_ink_on_a_transparent_ground_can_be_read_whatever_its_color() -> None:
    for ink, ground in ((0, 255), (200, 255), (255, 0)):
        image = Image.new("RGBA", (300, 300), (ink, ink, ink, 0))
        image.paste((ink, ink, ink, 255), (100, 100, 200, 200))
        seen = shown(Pictures(max_side=150).prepare(image))
        assert seen[0, 0].tolist() == [ground] * 3
        assert seen[75, 75].tolist() == [ink] * 3


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_white_picture_that_is_all_or_nothing_stays_white(alpha: int) -> None:
    assert shown(Pictures().prepare(Image.new("RGBA", (30, 30), (255, 255, 255, alpha)))).min() == 255


def test_a_transparent_edge_has_no_dark_seam() -> None:
    """Colors under full transparency do not count when pixels are averaged."""
    image = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    image.paste((200, 100, 50, 255), (0, 0, 101, 200))
    seen = shown(Pictures(max_side=100).prepare(image))
    assert (seen >= [198, 97, 47]).all()


# --- size


@given(width=st.integers(1, 300), height=st.integers(1, 300), max_side=st.integers(1, 200))
@settings(max_examples=60)
def test_sides_are_at_most_the_maximum_and_the_shape_is_kept(width: int, height: int, max_side: int) -> None:
    options = ImageOptions(max_aspect_ratio=1000)
    prepared = Pictures(max_side=max_side, options=options).prepare(Image.new("L", (width, height), 77))
    scale = min(1.0, max_side / max(width, height))
    assert prepared.width is not None
    assert prepared.height is not None
    assert max(prepared.width, prepared.height) == min(max_side, max(width, height))
    for given_side, sent_side in ((width, prepared.width), (height, prepared.height)):
        assert 1 <= sent_side <= given_side
        assert sent_side == 1 or abs(sent_side - given_side * scale) <= 0.5
    assert (shown(prepared) == 77).all()


@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1600), (1024, 768), (2048, 100)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_that_are_decoded_at_a_fraction_look_as_if_they_were_not(
    size: tuple[int, int], progressive: bool
) -> None:
    content = encoded(photo(*size), "JPEG", quality=90, progressive=progressive)
    prepared = Pictures(max_side=500).prepare(content)
    with Image.open(io.BytesIO(content)) as image:
        exact = image.resize((prepared.width, prepared.height), Image.Resampling.LANCZOS)
    sent = io.BytesIO(encoded(exact, "JPEG", quality=85))
    lost_by_jpeg = noise_ratio(np.asarray(Image.open(sent)).astype(float), np.asarray(exact).astype(float))
    assert noise_ratio(shown(prepared), np.asarray(exact).astype(float)) > lost_by_jpeg - 1.5


def test_a_jpeg_of_the_caller_is_not_decoded_at_a_fraction() -> None:
    image = Image.open(io.BytesIO(encoded(photo(800, 600), "JPEG")))
    prepared = Pictures(max_side=100).prepare(image)
    assert (prepared.width, prepared.height) == (100, 75)
    assert image.size == (800, 600)


# --- orientation and frames


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("max_side", [400, 120], ids=["as-it-is", "shrunk"])
def test_pictures_are_turned_upright(kind: str, orientation: int, max_side: int) -> None:
    upright = photo(240, 160)
    # From upright to how a camera stores it: the inverse of the move that the tag asks for.
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }[orientation](np.asarray(upright))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)
    for picture in (content, Image.open(io.BytesIO(content))):
        prepared = Pictures(max_side=max_side).prepare(picture)
        expected = upright.resize((prepared.width, prepared.height), Image.Resampling.LANCZOS)
        assert expected.size == ((240, 160) if max_side == 400 else (120, 80))
        assert noise_ratio(shown(prepared), np.asarray(expected).astype(float)) > 30


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_sent(kind: str) -> None:
    first, *others = (Image.new("RGB", (50, 40), color) for color in ("red", "blue", "lime"))
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(first, kind, save_all=True, append_images=others, **lossless)
    assert (shown(Pictures(max_side=20).prepare(content)) == [255, 0, 0]).all()
    image = Image.open(io.BytesIO(content))
    image.seek(1)
    assert (shown(Pictures(max_side=20).prepare(image)) == [0, 0, 255]).all()
    assert image.tell() == 1


# --- nothing but pixels


def jpeg_markers(content: bytes) -> set[int]:
    """The second bytes of all segment markers (ITU T.81, annex B) up to the pixels."""
    markers, place = set(), 2
    while content[place + 1] != 0xDA:
        assert content[place] == 0xFF
        markers.add(content[place + 1])
        place += 2 + struct.unpack(">H", content[place + 2 : place + 4])[0]
    return markers


def png_chunks(content: bytes) -> set[bytes]:
    chunks, place = set(), 8
    while place < len(content):
        chunks.add(content[place + 4 : place + 8])
        place += 12 + struct.unpack(">I", content[place : place + 4])[0]
    return chunks


def private_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ARTIST] = "Jane Secret"
    exif[ORIENTATION] = 6
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return exif


@pytest.mark.parametrize("max_side", [400, 100], ids=["as-it-is", "shrunk"])
@pytest.mark.parametrize("picture", [photo(240, 160), drawing(240, 160)], ids=["photo", "drawing"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_place_author_and_comments_are_not_sent(kind: str, picture: Image.Image, max_side: int) -> None:
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("Author", "Jane Secret")
    more = {"JPEG": {"comment": b"Jane Secret"}, "PNG": {"pnginfo": notes}}.get(kind, {})
    if kind in ("JPEG", "WEBP"):
        more["xmp"] = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>Jane Secret</x:xmpmeta>"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encoded(picture, kind, exif=private_exif(), icc_profile=profile, **more)
    assert b"Jane Secret" in content
    assert kind == "TIFF" or Image.open(io.BytesIO(content)).getexif().get_ifd(GPS)[1] == "N"
    for given_picture in (content, Image.open(io.BytesIO(content))):
        prepared = Pictures(max_side=max_side).prepare(given_picture)
        assert prepared.content is not None
        assert b"Secret" not in prepared.content
        assert b"Exif" not in prepared.content
        if prepared.mime_type == "image/jpeg":
            assert jpeg_markers(prepared.content) <= {0xE0, 0xDB, 0xC0, 0xC4}  # JFIF, tables and frame
        else:
            assert png_chunks(prepared.content) == {b"IHDR", b"IDAT", b"IEND"}
        with Image.open(io.BytesIO(prepared.content)) as sent:
            assert not dict(sent.getexif())


def test_what_hangs_behind_a_picture_is_not_sent() -> None:
    for kind in ("JPEG", "PNG"):
        prepared = Pictures().prepare(encoded(drawing(50, 50), kind) + b"PK\x03\x04 Secret")
        assert b"Secret" not in (prepared.content or b"")


# --- which format


def test_photographs_are_sent_as_jpeg_even_if_they_come_as_png() -> None:
    prepared = Pictures(max_side=300).prepare(encoded(photo(600, 400), "PNG"))
    assert prepared.mime_type == "image/jpeg"
    assert len(prepared.content or b"") < 40_000


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "L", "1"])
def test_drawings_are_sent_as_png_without_loss(mode: str) -> None:
    image = drawing(700, 500)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    prepared = Pictures().prepare(encoded(image, "PNG"))
    assert prepared.mime_type == "image/png"
    assert (shown(prepared) == np.asarray(image.convert("RGB"))).all()


def test_drawings_are_sent_as_png_after_shrinking_too() -> None:
    assert Pictures(max_side=350).prepare(drawing(700, 500)).mime_type == "image/png"


@pytest.mark.parametrize(
    "picture", [photo(100, 100), photo(16, 16), drawing(100, 100)], ids=["photo", "tiny", "drawing"]
)
def test_of_a_small_picture_the_smaller_file_is_sent(picture: Image.Image) -> None:
    prepared = Pictures().prepare(picture)
    sizes = {"image/jpeg": len(encoded(picture, "JPEG", quality=85)), "image/png": len(encoded(picture, "PNG"))}
    assert len(prepared.content or b"") == min(sizes.values()) == sizes[prepared.mime_type or ""]


# --- color profiles


def profile_of(space: bytes, tags: dict[bytes, bytes], description: str = "swapped") -> bytes:
    """A display profile of ICC version 2, written by hand (ICC.1:2001-04, clauses 6 and 7)."""
    text = description.encode() + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        **tags,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = bytes(4) + b"lcms" + b"\x02\x10\0\0" + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061) + bytes(128 - 80)
    content = header + table + body
    return struct.pack(">I", len(content)) + content[4:]


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))


CURVE = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))
# sRGB's primaries (D50), with red and green changed for each other.
SWAPPED = profile_of(
    b"RGB ",
    {
        b"rXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"gXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), CURVE),
    },
)
BRIGHTER = profile_of(b"GRAY", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.0 * 256))})


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("max_side", [400, 100], ids=["as-it-is", "shrunk"])
def test_colors_are_turned_into_srgb(kind: str, max_side: int) -> None:
    content = encoded(Image.new("RGB", (200, 150), (255, 0, 0)), kind, icc_profile=SWAPPED)
    red, green, blue = shown(Pictures(max_side=max_side).prepare(content))[10, 10]
    assert green > 245
    assert max(red, blue) < 40


def test_a_gray_profile_is_applied_too() -> None:
    content = encoded(Image.new("L", (200, 150), 64), "PNG", icc_profile=BRIGHTER)
    # A quarter of white's light is written as 137 in sRGB (IEC 61966-2-1).
    assert abs(shown(Pictures().prepare(content))[10, 10, 0] - 137) <= 3


@pytest.mark.parametrize(
    ("mode", "profile"),
    [("RGB", b"nonsense"), ("RGB", SWAPPED[:200]), ("RGB", BRIGHTER), ("L", SWAPPED), ("RGB", b"\0" * 128)],
    ids=["nonsense", "truncated", "gray-for-color", "color-for-gray", "zeros"],
)
def test_a_profile_that_is_of_no_use_is_dropped(mode: str, profile: bytes) -> None:
    image = Image.new(mode, (200, 150), 70)
    content = encoded(image, "PNG", icc_profile=profile)
    assert (shown(Pictures().prepare(content)) == np.asarray(image.convert("RGB"))).all()


# --- damage and limits


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_truncated_files_are_bad(kind: str, kept: float) -> None:
    content = encoded(photo(300, 200), kind)
    with pytest.raises(ImageError, match=r"damaged|not a picture|empty"):
        Pictures(max_side=60).prepare(content[: int(len(content) * kept)])


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    content = encoded(Image.new("1", (5000, 4000)), "PNG")
    assert len(content) < 5000
    with pytest.raises(ImageError, match="5000 x 4000 is more than max_pixels=1000000"):
        Pictures(options=ImageOptions(max_pixels=1_000_000)).prepare(content)
    with pytest.raises(ImageError, match="max_pixels=1000000"):
        Pictures(options=ImageOptions(max_pixels=1_000_000)).prepare(Image.new("1", (5000, 4000)))
    with pytest.raises(ImageError, match="max_aspect_ratio"):
        Pictures().prepare(encoded(Image.new("L", (9000, 3)), "PNG"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_bad(value: float) -> None:
    with pytest.raises(ImageError, match="NaN or infinite"):
        Pictures().prepare(Image.fromarray(np.array([[0.0, value]], dtype=np.float32)))


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"text", b"\0" * 999])
def test_what_is_no_picture_is_told(content: bytes) -> None:
    with pytest.raises(ImageError, match=rf"<{len(content)} bytes>: not a picture in a format that is read"):
        Pictures().prepare(content)
