"""Work common to every encoder: checking input, batches, order, progress, truncation and bad pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import ImageError, InvalidInputError, TruncationWarning
from commonscale.core.extras import require
from commonscale.core.warn import warn
from commonscale.encoders.base import ImageBatch, ImageFailure, Vectors
from commonscale.encoders.image_sources import describe
from commonscale.encoders.images import ImageInput, ImageOptions, read_image
from commonscale.encoders.vectors import unit_rows

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class EncodingOptions:
    """How an encoder works through its input; none of it changes a vector.

    Attributes:
        batch_size: items per forward pass.
        progress: show a progress bar on stderr.
        images: how pictures are read.
    """

    batch_size: int = 32
    progress: bool = False
    images: ImageOptions = field(default_factory=ImageOptions)

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InvalidInputError(f"batch_size must be a whole number of at least 1, got {self.batch_size!r}")


class BatchedEncoder(ABC):
    """Base of the encoders in this package: a family adds only how one batch is embedded.

    A family implements ``dimension``, ``fingerprint``, ``max_tokens``, ``count_tokens``, ``_embed_texts`` and
    ``_embed_images``; it overrides ``encode_questions`` if questions are embedded unlike passages.
    """

    def __init__(self, options: EncodingOptions) -> None:
        self.options = options

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length of every vector."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identity of the vectors: equal for equal weights and settings on every machine, else different."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """Longest text that is read whole, in the tokens that :meth:`count_tokens` counts."""

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each whole text, the marks that the model adds at its ends included."""

    @abstractmethod
    def _embed_texts(self, texts: list[str]) -> NDArray[Any]:
        """Return the raw features of one batch, shape (n, dimension); texts over the limit are cut."""

    @abstractmethod
    def _embed_images(self, images: list[Image]) -> NDArray[Any]:
        """Return the raw features of one batch of upright RGB pictures, shape (n, dimension)."""

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Embed questions.

        Args:
            questions: any number of strings; an empty sequence gives shape (0, dimension).

        Returns:
            Unit rows in the order given, shape (n, dimension), float32.

        Raises:
            InvalidInputError: if a single string is given, or a member is not a string.
            EncoderError: if the model gives a vector of norm zero or with NaN.

        Warns:
            TruncationWarning: once per call if texts are longer than ``max_tokens``, with their number.
        """
        return self._encode(_checked_texts(questions, "encode_questions"))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed passages; like :meth:`encode_questions` in every other respect."""
        return self._encode(_checked_texts(texts, "encode_texts"))

    def encode_images(self, images: Sequence[ImageInput]) -> Vectors:
        """Embed pictures, all of them or none.

        The rows always line up with the input. To leave out pictures that cannot be read, call
        :meth:`encode_images_reporting`, whose result says which rows belong to which pictures.

        Args:
            images: paths, file contents, base64, PIL images, ... as :mod:`commonscale.encoders.images` reads.

        Returns:
            Unit rows in the order given, shape (n, dimension), float32.

        Raises:
            ImageError: for the first picture that cannot be used; the message says which and why.
            InvalidInputError: if a single picture is given in place of a list.
            EncoderError: if the model gives a vector of norm zero or with NaN.
        """
        return self._encode_pictures(_checked_images(images, "encode_images"), None)[0]

    def encode_images_reporting(self, images: Sequence[ImageInput]) -> ImageBatch:
        """Embed the pictures that can be read and report each one that cannot.

        Args:
            images: as for :meth:`encode_images`.

        Returns:
            The vectors, the index in the input of each row, and one record per picture left out.

        Raises:
            InvalidInputError: if a single picture is given in place of a list.
            EncoderError: if the model gives a vector of norm zero or with NaN.
        """
        failures: list[ImageFailure] = []
        vectors, kept = self._encode_pictures(_checked_images(images, "encode_images_reporting"), failures)
        return ImageBatch(vectors, tuple(kept), tuple(failures))

    def _encode(self, texts: list[str]) -> Vectors:
        lengths = np.asarray(self.count_tokens(texts), dtype=np.int64)
        self._warn_of_truncation(lengths)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        # Neighbors in length share a batch, so that little is padded; the longest come first, so that a batch
        # too large for memory fails at once.
        order = np.argsort(-lengths, kind="stable")
        with _progress(len(texts), "text", self.options.progress) as advance:
            for rows in _slices(order, self.options.batch_size):
                vectors[rows] = unit_rows(self._embed_texts([texts[row] for row in rows]), "text")
                advance(len(rows))
        return vectors

    def _warn_of_truncation(self, lengths: NDArray[np.int64]) -> None:
        cut = int((lengths > self.max_tokens).sum())
        if cut:
            warn(
                f"{cut} of {len(lengths)} texts are longer than the {self.max_tokens} tokens that this encoder "
                f"reads (the longest has {int(lengths.max())}): what follows was cut off. Split long texts "
                "into smaller passages.",
                TruncationWarning,
            )

    def _encode_pictures(
        self, images: list[ImageInput], failures: list[ImageFailure] | None
    ) -> tuple[Vectors, list[int]]:
        """Embed batch by batch; ``failures`` collects what cannot be read, None lets it raise."""
        batches = [np.empty((0, self.dimension), dtype=np.float32)]
        kept: list[int] = []
        with _progress(len(images), "image", self.options.progress) as advance:
            for rows in _slices(np.arange(len(images)), self.options.batch_size):
                pictures = {row: self._read(images[row], row, failures) for row in rows}
                readable = {row: picture for row, picture in pictures.items() if picture is not None}
                if readable:
                    batches.append(unit_rows(self._embed_images(list(readable.values())), "image"))
                    kept.extend(readable)
                advance(len(rows))
        return np.concatenate(batches), kept

    def _read(self, image: ImageInput, index: int, failures: list[ImageFailure] | None) -> Image | None:
        try:
            return read_image(image, self.options.images)
        except ImageError as error:
            if failures is None:
                raise ImageError(f"Image {index}, {describe(image)}: {error}") from error
            failures.append(ImageFailure(index, describe(image), str(error), error))
            return None


def _slices(order: NDArray[np.intp], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size].tolist()


@contextmanager
def _progress(total: int, unit: str, shown: bool) -> Iterator[Any]:
    """Give a function that advances a bar on stderr; without a bar it does nothing."""
    if not shown:
        yield lambda _count: None
        return
    with require("tqdm", "encoders").tqdm(total=total, unit=unit) as bar:
        yield bar.update


def _checked_texts(texts: Sequence[str], method: str) -> list[str]:
    if isinstance(texts, (str, bytes)):
        raise InvalidInputError(f"{method}() needs a list of strings, got one: {texts[:60]!r}. Put it into a list.")
    checked = list(texts)
    for index, text in enumerate(checked):
        if not isinstance(text, str):
            raise InvalidInputError(
                f"{method}() needs strings; item {index} is of type {type(text).__name__}: {repr(text)[:60]}"
            )
    return checked


def _checked_images(images: Sequence[ImageInput], method: str) -> list[ImageInput]:
    if isinstance(images, (str, bytes, bytearray, memoryview)) or not hasattr(images, "__iter__") or _is_file(images):
        raise InvalidInputError(
            f"{method}() needs a list of pictures, got one: {describe(images)}. Put it into a list."
        )
    return list(images)


def _is_file(value: object) -> bool:
    return hasattr(value, "read")
