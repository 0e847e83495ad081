"""Keeping prepared pictures for a while, each prepared once however many ask for it at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from commonscale.core.errors import ImageError
from commonscale.prompting.items import PreparedPicture

MAX_BYTES = 64 * 1024 * 1024
"""Of all pictures kept together; at the default size a photograph has 60 to 300 kB."""


class PictureCache:
    """The pictures used last, by what they are made of; a bad one is kept as the reason why it is bad.

    Safe for any number of threads.
    """

    def __init__(self, most: int, max_bytes: int = MAX_BYTES) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, PreparedPicture | str] = OrderedDict()
        self._bytes = 0
        self._making: dict[Hashable, Future[PreparedPicture | str | None]] = {}

    def get(self, key: Hashable, make: Callable[[], PreparedPicture], *, keep_bad: bool) -> PreparedPicture:
        """Give what is kept under a key, or make it.

        Args:
            key: what the picture is made of; other contents need another key.
            make: prepares the picture; not called while another thread prepares the same one, which is then waited for.
            keep_bad: whether to remember an ImageError, since asking again would give the same.

        Returns:
            The picture.

        Raises:
            ImageError: what ``make`` raises, or raised when it was asked last.
            Exception: anything else that ``make`` raises; who waited for it tries again.
        """
        while True:
            with self._lock:
                found: PreparedPicture | str | None = self._kept.get(key)
                making = self._making.get(key)
                if found is not None:
                    self._kept.move_to_end(key)
                elif making is None:
                    mine = self._making[key] = Future()
            if found is None:
                found = self._made(key, make, mine, keep_bad) if making is None else making.result()
            if isinstance(found, str):
                raise ImageError(found)
            if found is not None:
                return found

    def _made(
        self,
        key: Hashable,
        make: Callable[[], PreparedPicture],
        mine: Future[PreparedPicture | str | None],
        keep_bad: bool,
    ) -> PreparedPicture | str:
        made: PreparedPicture | str | None = None
        try:
            try:
                made = make()
            except ImageError as error:
                made = str(error)
            return made
        finally:
            with self._lock:
                if made is not None and (keep_bad or not isinstance(made, str)):
                    self._keep(key, made)
                del self._making[key]
            mine.set_result(made)

    def _keep(self, key: Hashable, made: PreparedPicture | str) -> None:
        self._kept[key] = made
        self._bytes += _size(made)
        while self._kept and (len(self._kept) > self._most or self._bytes > self._max_bytes):
            self._bytes -= _size(self._kept.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._kept)


def _size(made: PreparedPicture | str) -> int:
    return len(made) if isinstance(made, str) else len(made.content or b"")
