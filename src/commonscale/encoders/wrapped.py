"""An embedding model of another framework as an encoder: what is common to all frameworks."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from commonscale.core.errors import EncoderError, ImageError, InvalidInputError
from commonscale.core.extras import require
from commonscale.core.unreadable import embed_readable, reason_of
from commonscale.encoders.base import EncodedBatch, ItemFailure, Vectors
from commonscale.encoders.checks import check_text, listed_images, listed_texts
from commonscale.encoders.image_sources import describe, form_of, open_source
from commonscale.encoders.images import ImageInput, ImageOptions, read_image
from commonscale.encoders.vectors import unit_rows


class WrappedEncoder(ABC):
    """Base of encoders made of another framework's embedding model: norms, checks, pictures, identity.

    Attributes:
        picture_batch: how many pictures the model is given at once.
    """

    picture_batch: int = 64

    def __init__(self, fingerprint: str | None, identity: str | None, model_name: str) -> None:
        """Settle whose vectors these are.

        Args:
            fingerprint: what the caller calls them.
            identity: what the model calls itself.
            model_name: its class, for the message.

        Raises:
            InvalidInputError: if neither is known.
        """
        if fingerprint is not None and (not isinstance(fingerprint, str) or not fingerprint):
            raise InvalidInputError(f"fingerprint must be a text that names the vectors, got {fingerprint!r}")
        chosen = fingerprint or identity
        if chosen is None:
            raise InvalidInputError(
                f"{model_name} does not say which model it is (model_name), so that its vectors cannot be told from "
                f"those of others; give fingerprint='...', any text that changes whenever the vectors do"
            )
        self._fingerprint = chosen
        self._dimension: int | None = None

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors: as given, else class, model name and a digest of the settings that matter."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Length of every vector: that of the first one, for which the text "a" is embedded if none was yet."""
        if self._dimension is None:
            self.encode_texts(["a"])
        if self._dimension is None:
            raise EncoderError(f"{self!r} gave no vector, so that its length is not known")
        return self._dimension

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Embed questions, by the model's methods for queries.

        Args:
            questions: any number of strings.

        Returns:
            Unit rows in the order given, shape (n, dimension), float32.

        Raises:
            InvalidInputError: if a single string is given, or a member is not a string.
            EncoderError: if the model gives vectors that cannot be used.
            Exception: what the model raises.
        """
        texts = _texts(questions, "encode_questions")
        return self._rows(self._embed_questions(texts), len(texts), "question") if texts else self._none()

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed passages, by the model's methods for documents; otherwise as :meth:`encode_questions`."""
        passages = _texts(texts, "encode_texts")
        return self._rows(self._embed_texts(passages), len(passages), "text") if passages else self._none()

    def encode_images(self, images: Sequence[ImageInput]) -> Vectors:
        """Embed pictures, all of them or none.

        Args:
            images: paths (given to the model as they are), URLs (if the model reads them), file contents, base64,
                open files or PIL images.

        Returns:
            Unit rows in the order given, shape (n, dimension), float32.

        Raises:
            ImageError: for the first picture that cannot be used; the message says which and why.
            InvalidInputError: if the model reads no pictures, or a single picture is given.
            EncoderError: if the model gives vectors that cannot be used.
            Exception: what the model raises.
        """
        return self._pictures(listed_images(images, "encode_images"), strict=True).vectors

    def encode_images_reporting(self, images: Sequence[ImageInput]) -> EncodedBatch:
        """Embed the pictures that can be read and report each one that cannot; see :meth:`encode_images`."""
        return self._pictures(listed_images(images, "encode_images_reporting"), strict=False)

    @abstractmethod
    def _embed_questions(self, questions: list[str]) -> Any:
        """Return one vector for each question, of any norm."""

    @abstractmethod
    def _embed_texts(self, texts: list[str]) -> Any:
        """Return one vector for each passage, of any norm."""

    @abstractmethod
    def _check_images(self) -> None:
        """Raise InvalidInputError if the model reads no pictures."""

    @abstractmethod
    def _embed_images(self, files: list[str | bytes]) -> Any:
        """Return one vector for each picture: a path or URL as it was given, or the contents of a file."""

    def _pictures(self, images: list[ImageInput], *, strict: bool) -> EncodedBatch:
        self._check_images()
        kept: list[int] = []
        parts: list[Vectors] = []
        failures: list[ItemFailure] = []
        for start in range(0, len(images), self.picture_batch):
            found = embed_readable(self._embed_sources, images[start : start + self.picture_batch])
            for place, error in found.failures:
                index, name, reason = start + place, describe(images[start + place]), reason_of(error)
                if strict:
                    raise ImageError(f"Image {index}, {name}: {reason}") from error
                failures.append(ItemFailure(index, name, reason, error))
            kept += [start + place for place in found.kept]
            if found.kept:
                parts.append(self._rows(found.vectors, len(found.kept), "image"))
        return EncodedBatch(np.concatenate(parts) if parts else self._none(), tuple(kept), tuple(failures))

    def _embed_sources(self, images: list[ImageInput]) -> Any:
        return self._embed_images([picture_file(image) for image in images])

    def _rows(self, vectors: Any, count: int, what: str) -> Vectors:
        try:
            shape = np.shape(vectors)
        except ValueError:
            shape = (len(vectors),)
        if len(shape) != 2 or shape[0] != count or self._dimension not in (None, shape[1]):
            raise EncoderError(
                f"{self!r} gave vectors of shape {shape} for {count} {what}s; ({count}, {self._dimension or 'd'}) is "
                f"needed"
            )
        rows = unit_rows(vectors, what)
        self._dimension = shape[1]
        return rows

    def _none(self) -> Vectors:
        return np.empty((0, self.dimension), dtype=np.float32)


def picture_file(image: ImageInput) -> str | bytes:
    """Turn anything that stands for a picture into what other frameworks take.

    Args:
        image: as :mod:`commonscale.encoders.images` tells the kinds apart.

    Returns:
        A path or URL, as it was given; else the contents of the picture file (of a PIL image as upright RGB, PNG).

    Raises:
        ImageError: if there is nothing to read.
    """
    if isinstance(image, os.PathLike):
        return os.fsdecode(image)
    if isinstance(image, str) and form_of(image) in ("path", "url"):
        return image
    if isinstance(image, require("PIL.Image", "encoders").Image):
        stream = io.BytesIO()
        read_image(image, ImageOptions()).save(stream, "PNG")
        return stream.getvalue()
    with open_source(image, ImageOptions()) as opened:
        return opened.read()


def _texts(texts: Sequence[str], method: str) -> list[str]:
    return [check_text(text, method, index) for index, text in enumerate(listed_texts(texts, method))]
