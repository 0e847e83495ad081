"""What is said of pictures that are not given as a list, and of a picture that is alone."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.checks import listed_images, which


@pytest.mark.parametrize("form", [str, Path])
def test_a_folder_is_not_a_list_of_pictures(tmp_path, form):
    given = form(tmp_path)
    with pytest.raises(
        InvalidInputError, match=r"calibrate_images\(\) needs a list of pictures, got a folder"
    ) as caught:
        listed_images(given, "calibrate_images")
    assert f"sorted(Path({str(tmp_path)!r}).iterdir())" in str(caught.value)


@pytest.mark.parametrize(
    "given", ["nope.jpg", Path("nope.jpg"), b"data", "a\0b.jpg", base64.b64encode(b"x" * 9000).decode()]
)
def test_a_single_picture_goes_into_a_list(given):
    with pytest.raises(
        InvalidInputError, match=r"calibrate_images\(\) needs a list of pictures, got one: .* into a list"
    ):
        listed_images(given, "calibrate_images")
    assert listed_images([given], "calibrate_images") == [given]


def test_a_picture_that_is_alone_has_no_number():
    assert which("image", 0, 1, "'nope.jpg'") == "Image 'nope.jpg'"
    assert which("image", 0, 2, "'nope.jpg'") == "Image 0, 'nope.jpg'"
