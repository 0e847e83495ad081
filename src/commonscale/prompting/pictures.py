"""Pictures on their way to a model: read only from where the user allowed, shrunk, and encoded again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from commonscale.core.errors import ImageError
from commonscale.prompting.items import PreparedPicture

if TYPE_CHECKING:
    import os

    from commonscale.encoders.images import ImageInput

Urls = Literal["refuse", "pass", "download"]


class Pictures:
    """Reads, shrinks and encodes pictures, each one once.

    A document's metadata is untrusted: files are read only from ``folders``, and URLs are used only as allowed.
    """

    def __init__(
        self,
        folders: Iterable[str | os.PathLike[str]] = (),
        *,
        urls: Urls = "refuse",
        max_side: int = 1024,
        cached: int = 64,
    ) -> None:
        self._folders = tuple(folders)
        self._urls = urls
        self._max_side = max_side
        self._cached = cached

    def prepare(self, picture: ImageInput) -> PreparedPicture:
        """Read, shrink and encode one picture.

        Raises:
            ImageError: if it may not be read, cannot be read, or is no picture.
        """
        raise ImageError(f"no picture: {picture!r}")

    def prepare_all(self, pictures: Iterable[ImageInput]) -> None:
        """Prepare several at once, so that ``prepare`` gives them at once; bad ones are told there."""
