"""Pictures on their way into a store: what each is called there, and which of them can be read."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from commonscale.core.errors import ImageError, InvalidInputError, SkippedImageWarning
from commonscale.core.unreadable import embed_readable, reason_of
from commonscale.core.warn import warn
from commonscale.stores.ingest import Embedded

_NAMED = 5
"""Pictures that a warning names one by one."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: what messages call it.
        path: its file, as it was given; None if it is none.
        url: its URL; None if it has none.
        content: the contents of its file, if these were given themselves.
    """

    name: str
    path: str | None = None
    url: str | None = None
    content: bytes | None = field(default=None, repr=False)

    @property
    def identity(self) -> str:
        """What tells it from other pictures: its path or URL, whatever is there, or a digest of its contents."""
        if self.path is not None:
            return os.path.normpath(self.path)
        return self.url or f"sha256:{hashlib.sha256(self.content or b'').hexdigest()}"

    @property
    def base64(self) -> str | None:
        """Its contents, if these were given themselves, as text."""
        return None if self.content is None else base64.b64encode(self.content).decode("ascii")

    @property
    def readable(self) -> Any:
        """What an embedding model is given to read: a path, a URL, or an open file in memory."""
        if self.content is not None:
            return BytesIO(self.content)
        if self.path is not None and _sources().form_of(self.path) != "path":
            return Path(self.path)
        return self.path or self.url


def pictures_of(images: Sequence[Any], store_base64: bool) -> list[Picture]:
    """Tell what each picture is.

    Args:
        images: paths, http(s) URLs, contents of picture files, data URIs or base64.
        store_base64: whether contents may be written into the store.

    Raises:
        InvalidInputError: if one is something else, or has neither path nor URL and may not be written.
    """
    pictures = [_picture(image, place) for place, image in enumerate(images)]
    for place, picture in enumerate(pictures):
        if picture.content is not None and not store_base64:
            raise InvalidInputError(
                f"images[{place}], {picture.name}, has neither path nor URL, so that nothing in the store could lead "
                f"back to it; save it and give its path, or pass store_base64=True to write the picture itself into "
                f"the store (some limit the size of what they take)"
            )
    return pictures


def _sources() -> Any:
    # Imported when pictures are added: retrieving alone needs nothing that reads them.
    from commonscale.encoders import image_sources

    return image_sources


def _picture(image: Any, place: int) -> Picture:
    name = _sources().describe(image)
    if isinstance(image, os.PathLike):
        return Picture(name, path=os.fsdecode(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return Picture(name, content=bytes(image))
    if not isinstance(image, str) or not image:
        raise InvalidInputError(
            f"images[{place}] must be a path, a URL, the contents of a picture file, a data URI or base64, got {name}; "
            f"save an open picture and give its path"
        )
    form = _sources().form_of(image)
    if form == "path":
        return Picture(name, path=image)
    if form == "url":
        return Picture(name, url=image)
    from commonscale.encoders.images import ImageOptions

    try:
        with _sources().open_source(image, ImageOptions()) as stream:
            return Picture(f"images[{place}]", content=stream.read())
    except ImageError as error:
        raise InvalidInputError(f"images[{place}], {name}, cannot be decoded: {error}") from error


class PictureReader:
    """Embeds pictures and leaves out those that cannot be read."""

    def __init__(self, embed: Callable[[list[Any]], Any]) -> None:
        """Set up the reader.

        Args:
            embed: gives one vector for each of what ``Picture.readable`` gives.
        """
        self._embed = embed
        self._failures: list[str] = []

    def __call__(self, pictures: list[Picture]) -> Embedded:
        """Embed a batch."""
        found = embed_readable(lambda part: self._embed([picture.readable for picture in part]), pictures)
        self._failures += [f"{pictures[place].name} ({reason_of(error)})" for place, error in found.failures]
        return Embedded(found.kept, found.vectors)

    def warn(self) -> None:
        """Warn of what was left out, if anything was."""
        failures = self._failures
        if failures:
            more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
            number = (
                "1 picture could not be read and was"
                if len(failures) == 1
                else (f"{len(failures)} pictures could not be read and were")
            )
            warn(
                f"{number} left out: {'; '.join(failures[:_NAMED])}{more}",
                SkippedImageWarning,
            )
