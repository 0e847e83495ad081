from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from commonscale.core.errors import ImageError
from commonscale.datasets import ZipPictures, load_cut_image
from commonscale.encoders import load_image


def noise(kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 80).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def test_a_picture_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = noise()
    cut = whole[: len(whole) // 2]
    with pytest.raises(ImageError, match="truncated"):
        load_image(cut)
    found = load_cut_image(cut)
    assert (found.size, found.mode) == ((64, 48), "RGB")
    assert found.tobytes()[: 64 * 3 * 8] == load_image(whole).tobytes()[: 64 * 3 * 8], "the upper rows are all there"
    path = tmp_path / "cut.jpg"
    path.write_bytes(cut)
    assert load_cut_image(path).tobytes() == found.tobytes()
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False, "Pillow's switch is as it was"


def test_what_is_no_picture_is_still_refused() -> None:
    with pytest.raises(ImageError, match="not a picture"):
        load_cut_image(b"no picture at all")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_damaged_member_of_an_archive_is_named(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", noise())
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ImageError, match=r"pictures\.zip: its member 'a\.jpg' cannot be read: Bad CRC"):
        ZipPictures(path).open("a.jpg")
