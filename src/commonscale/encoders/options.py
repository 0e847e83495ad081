"""How an encoder works through its input."""

from __future__ import annotations

from dataclasses import dataclass, field

from commonscale.core.concurrency import processors
from commonscale.core.errors import InvalidInputError
from commonscale.encoders.images import ImageOptions


@dataclass(frozen=True)
class EncodingOptions:
    """How an encoder works through its input; none of it changes a vector beyond rounding.

    Attributes:
        batch_size: items per forward pass, or per request to a service if its own limit is not lower.
        progress: show a progress bar on stderr.
        images: how pictures are read.
        readers: threads that read and decode pictures while the model computes; None means up to four, as there are
            processors; 0 reads each batch before it is computed, in the caller's thread.
    """

    batch_size: int = 32
    progress: bool = False
    images: ImageOptions = field(default_factory=ImageOptions)
    readers: int | None = None

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size, 1)
        check_flag("progress", self.progress)
        if not isinstance(self.images, ImageOptions):
            raise InvalidInputError(
                f"image_options must be ImageOptions(...) of commonscale.encoders, got {self.images!r}"
            )
        if self.readers is not None:
            check_whole("readers", self.readers, 0)

    @property
    def threads(self) -> int:
        """Threads that read pictures."""
        return min(4, processors()) if self.readers is None else self.readers


def check_flag(name: str, value: object) -> None:
    """Check a setting that is on or off.

    Raises:
        InvalidInputError: if it is neither True nor False; a text such as ``"no"`` would count as on.
    """
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be True or False, got {value!r}")


def check_whole(name: str, value: object, least: int) -> None:
    """Check a setting that counts something.

    Raises:
        InvalidInputError: if it is no whole number, or less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInputError(f"{name} must be a whole number of at least {least}, got {value!r}")
