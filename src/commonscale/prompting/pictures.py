"""Pictures on their way to a model: read only from where the user allowed, shrunk, and encoded again."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.image_sources import describe, form_of, open_source
from commonscale.encoders.images import ImageOptions, checked_image
from commonscale.encoders.pixels import upright_move
from commonscale.prompting.access import Folders
from commonscale.prompting.addresses import checked_address
from commonscale.prompting.encoding import encode_file, encode_image
from commonscale.prompting.items import PreparedPicture
from commonscale.prompting.picture_cache import PictureCache

if TYPE_CHECKING:
    from PIL.Image import Image

    from commonscale.encoders.images import ImageInput

Urls = Literal["refuse", "pass", "download"]

_THREADS = 4
"""Pictures prepared side by side: one of 12 megapixels takes 48 MB, and three to seven times that in some modes."""

_DOWNLOADS = 8


class Pictures:
    """Reads, shrinks and encodes pictures, each one once.

    A document's metadata is untrusted: files are read only from ``folders``, and URLs are used only as allowed.
    Bytes, base64, data URIs, open files and PIL images need no permission: whoever wrote them gave the picture itself.
    Nothing of a file is sent but its pixels, encoded anew; :mod:`commonscale.prompting.encoding` says how.

    Pictures are kept by what they are made of: files by place, time and size, bytes by their SHA-256, downloads
    by URL. PIL images are not kept, since they can be changed. A bad file or bad bytes are remembered as bad; a
    download that failed is tried again. Safe for any number of threads.
    """

    def __init__(
        self,
        folders: Iterable[str | os.PathLike[str]] = (),
        *,
        urls: Urls = "refuse",
        max_side: int = 1024,
        cached: int = 64,
        options: ImageOptions | None = None,
    ) -> None:
        """Set up what is allowed.

        Args:
            folders: files in them, and in folders below, may be read; none: no file may.
            urls: ``"refuse"``; ``"download"`` to fetch pictures here, from public addresses only; ``"pass"`` to hand
                http(s) URLs of public hosts to the provider, who sees the picture in full size. Some providers
                and clients fetch them from your own network; they should not be handed strangers' URLs.
            max_side: pixels of a picture's longer side at most. With 1,024 a photograph of 4:3 has a shorter side of
                768, which is what OpenAI's tile rule shrinks to anyway; a square has 1,024 of the 1,536 patches of
                OpenAI's newer rule; and it is below the 1,568 pixels (1.15 megapixels) to which Anthropic shrinks.
                Fine print on a scanned page needs more: 1,568.
            cached: prepared pictures that are kept, at most, and 64 MiB of them; 0 keeps none.
            options: limits of size and, for URLs, of time and of addresses; its ``allow_urls`` is not used.

        Raises:
            InvalidInputError: if a folder is none, or a setting is something else.
        """
        if urls not in get_args(Urls):
            raise InvalidInputError(f"urls must be one of {', '.join(map(repr, get_args(Urls)))}, got {urls!r}")
        for name, value, least in (("max_side", max_side, 1), ("cached", cached, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidInputError(f"{name} must be an integer >= {least}, got {value!r}")
        self._folders = Folders(folders)
        self._urls = urls
        self._max_side = max_side
        self._cached = cached
        self._options = replace(options or ImageOptions(), allow_urls=urls == "download")
        # No picture of max_pixels needs more, not even without compression (red, green, blue and alpha).
        self._max_bytes = 4 * self._options.max_pixels + 65536
        self._cache = PictureCache(cached)
        self._reading = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # Frameworks copy and pickle what they are given; locks and pictures that are kept stay behind.
        return {name: value for name, value in vars(self).items() if name not in ("_cache", "_reading")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _cache=PictureCache(state["_cached"]), _reading=threading.Lock())

    def prepare(self, picture: ImageInput) -> PreparedPicture:
        """Read, shrink and encode one picture.

        Args:
            picture: a path, bytes, base64, data URI, http(s) URL, open file or PIL image; told apart as
                :mod:`commonscale.encoders.images` says.

        Returns:
            What is sent: the same object for the same picture as long as it is kept.

        Raises:
            ImageError: if it may not be read, cannot be read, is no picture or is too large; the message names the
                picture and says what to do.
            OSError: if the machine, not the picture, is the trouble: too many open files, for example.
            MissingExtraError: if Pillow is not installed, or httpx for downloads.
        """
        try:
            return self._prepared(picture)
        except ImageError as error:
            raise ImageError(f"{describe(picture)}: {error}") from error

    def prepare_all(self, pictures: Iterable[ImageInput]) -> list[PreparedPicture | ImageError | None]:
        """Prepare several side by side, so that ``prepare`` has them at once.

        PIL images, and streams that can be read only once, are left to ``prepare``; so is one picture alone.

        Args:
            pictures: any number; no more than are kept are prepared.

        Returns:
            What came of each: the picture; the error that ``prepare`` would raise, so that a download that took its
            time to fail need not be tried twice; or None for what is left to ``prepare``.
        """
        given = list(pictures)
        found: list[PreparedPicture | ImageError | None] = [None] * len(given)
        ahead = [place for place, picture in enumerate(given) if _can_be_prepared_ahead(picture)][: self._cached]
        if len(ahead) < 2:
            return found
        most = _DOWNLOADS if self._urls == "download" else _THREADS
        with ThreadPoolExecutor(min(most, len(ahead)), "commonscale-pictures") as pool:
            for place, made in zip(ahead, pool.map(self._tried, [given[place] for place in ahead]), strict=True):
                found[place] = made
        return found

    def _tried(self, picture: ImageInput) -> PreparedPicture | ImageError | None:
        try:
            return self.prepare(picture)
        except ImageError as error:
            return error
        except Exception:  # noqa: BLE001 (the machine's, and told by who asks for this picture alone)
            return None

    def _prepared(self, picture: ImageInput) -> PreparedPicture:
        if isinstance(picture, str):
            self._check_length(len(picture) // 3)  # percent-encoding takes three characters for a byte
            form = form_of(picture)
            if form == "url":
                return self._from_url(picture)
            if form == "path":
                return self._from_file(picture)
        if isinstance(picture, os.PathLike):
            return self._from_file(picture)
        if isinstance(picture, require("PIL.Image", "qa").Image):
            return self._from_image(picture)
        return self._from_content(picture)

    def _from_file(self, path: str | os.PathLike[str]) -> PreparedPicture:
        require("PIL.Image", "qa")
        with self._folders.open(path) as stream:
            found = os.fstat(stream.fileno())
            self._check_length(found.st_size)
            times = (found.st_mtime_ns, found.st_ctime_ns)
            key = ("file", os.fspath(path), found.st_dev, found.st_ino, found.st_size, *times)
            return self._cache.get(key, lambda: encode_file(stream, self._options, self._max_side), keep_bad=True)

    def _from_content(self, picture: ImageInput) -> PreparedPicture:
        with self._reading, open_source(picture, self._options) as stream:  # two threads may not read one open file
            content = stream.read()
        self._check_length(len(content))
        key = ("bytes", hashlib.sha256(content).digest())
        return self._cache.get(key, lambda: self._encoded(content), keep_bad=True)

    def _from_url(self, url: str) -> PreparedPicture:
        scheme = url.partition(":")[0].lower()
        if scheme not in ("http", "https"):
            raise ImageError(f"only http and https URLs are used, not {scheme!r}; name a file by its path")
        if self._urls == "pass":
            return PreparedPicture(url=checked_address(url, allow_private=self._options.allow_private_addresses))
        if self._urls == "refuse":
            raise ImageError(
                'URLs are not used unless allowed; pass Pictures(urls="download") to fetch them here, or urls="pass" '
                "to let the provider fetch them"
            )
        require("httpx", "qa")

        def fetch() -> PreparedPicture:
            with open_source(url, self._options) as stream:
                return self._encoded(stream.read())

        return self._cache.get(("url", url), fetch, keep_bad=False)

    def _from_image(self, image: Image) -> PreparedPicture:
        # Loading, and reading the orientation, fill in the caller's object, which another thread may be using too.
        with self._reading, checked_image(image, self._options):
            image.load()
            upright_move(image)
        return encode_image(image, self._options, self._max_side)

    def _encoded(self, content: bytes) -> PreparedPicture:
        return encode_file(io.BytesIO(content), self._options, self._max_side)

    def _check_length(self, count: int) -> None:
        if count > self._max_bytes:
            raise ImageError(
                f"has {count} bytes, more than a picture of max_pixels={self._options.max_pixels} needs; raise the "
                "limit with Pictures(options=ImageOptions(max_pixels=...)) if you trust it"
            )


def _can_be_prepared_ahead(picture: object) -> bool:
    """Tell whether ``prepare`` will find what is prepared now: not for what is not kept, or can be read only once."""
    if isinstance(picture, (str, bytes, bytearray, memoryview, os.PathLike)):
        return True
    return bool(getattr(picture, "seekable", bool)())
