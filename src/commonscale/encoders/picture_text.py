"""A picture that is a question, as text: what frameworks pass on, log and compare."""

from __future__ import annotations

import base64

from commonscale.encoders.images import ImageInput
from commonscale.encoders.wrapped import picture_file


def picture_text(picture: ImageInput) -> str:
    """Give a string that stands for a picture, for interfaces that take nothing else.

    Args:
        picture: as :mod:`commonscale.encoders.images` tells the kinds apart.

    Returns:
        A path or URL, as it was given; else a data URI of the file's contents (of a PIL image as upright RGB, PNG).
        ``load_image``, and so every encoder, reads it back as the same picture.

    Raises:
        ImageError: if there is nothing to read.
    """
    file = picture_file(picture)
    # The type is not told: readers go by the contents.
    return file if isinstance(file, str) else f"data:;base64,{base64.b64encode(file).decode('ascii')}"
