"""A fake of ``Pictures`` that reads no pictures: a "picture" is a string that says how it is to turn out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from commonscale.core.errors import ImageError
from commonscale.prompting import Pictures, PreparedPicture


class FakePictures(Pictures):
    """Takes ``"640x480"`` for a picture of that size, ``"http..."`` for an address, and all else for a bad picture."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[Any] = []
        self.warmed: list[Any] = []

    def prepare(self, picture: Any) -> PreparedPicture:
        self.prepared.append(picture)
        if picture.startswith("http"):
            return PreparedPicture(url=picture)
        width, _, height = picture.partition("x")
        if not (width.isdigit() and height.isdigit()):
            raise ImageError(f"{picture!r} is damaged")
        return PreparedPicture(picture.encode(), "image/png", int(width), int(height))

    def prepare_all(self, pictures: Iterable[Any]) -> list[PreparedPicture | ImageError | None]:
        given = list(pictures)
        self.warmed += given
        return [None] * len(given)
