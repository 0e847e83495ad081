"""An embedding model of another framework as an encoder: what is common to all frameworks."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import EncoderError, ImageError, InvalidInputError
from commonscale.core.extras import require
from commonscale.core.unreadable import embed_readable, reason_of
from commonscale.encoders.base import EncodedBatch, ItemFailure, Vectors
from commonscale.encoders.checks import check_text, listed_images, listed_texts, which
from commonscale.encoders.image_sources import describe, form_of, open_source
from commonscale.encoders.images import ImageInput, ImageOptions, read_image
from commonscale.encoders.undirected import NO_DIRECTION, Found
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

    def encode_texts_reporting(self, texts: Sequence[str]) -> EncodedBatch:
        """Embed the passages that can be embedded and report each one that cannot; see :meth:`encode_texts`.

        Raises:
            EncoderError: if the model gives too few vectors, or several and none that has a direction.
            Exception: what the model raises.
        """
        given = listed_texts(texts, "encode_texts_reporting")
        found, asked = Found(), []
        for place, text in enumerate(given):
            try:
                check_text(text, "encode_texts_reporting", place)
                asked.append(place)
            except InvalidInputError as error:
                found.failures.append(ItemFailure(place, _shown(text), str(error), error))
        passages = [given[place] for place in asked]
        if passages:
            features = self._features(self._embed_texts(passages), len(passages), "text")
            found.add(features, asked, "text", lambda place: _shown(given[place]))
        return self._batch(found)

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
        """Embed the pictures that can be embedded and report each one that cannot; see :meth:`encode_images`.

        Raises:
            EncoderError: if the model gives too few vectors, or several and none that has a direction.
            Exception: what the model raises, if it is not of a picture.
        """
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
        found = Found()
        for start in range(0, len(images), self.picture_batch):
            part = embed_readable(self._embed_sources, images[start : start + self.picture_batch])
            for place, error in part.failures:
                name = describe(images[start + place])
                found.failures.append(ItemFailure(start + place, name, reason_of(error), error))
            if part.kept:
                features = self._features(part.vectors, len(part.kept), "image")
                found.add(features, [start + place for place in part.kept], "image", lambda at: describe(images[at]))
            if strict and found.failures:
                first = min(found.failures, key=lambda failure: failure.index)
                kind = EncoderError if first.reason == NO_DIRECTION else ImageError
                named = which("image", first.index, len(images), first.description)
                raise kind(f"{named}: {first.reason}") from first.error
        return self._batch(found)

    def _batch(self, found: Found) -> EncodedBatch:
        if found.undirected > 1 and not found.kept:
            raise EncoderError(f"{self!r} gave {found.undirected} vectors and none that can be used: {NO_DIRECTION}")
        failures = tuple(sorted(found.failures, key=lambda failure: failure.index))
        return EncodedBatch(np.concatenate(found.parts) if found.kept else self._none(), tuple(found.kept), failures)

    def _embed_sources(self, images: list[ImageInput]) -> Any:
        return self._embed_images([picture_file(image) for image in images])

    def _rows(self, vectors: Any, count: int, what: str) -> Vectors:
        return unit_rows(self._features(vectors, count, what), what)

    def _features(self, vectors: Any, count: int, what: str) -> NDArray[Any]:
        """Check that there is one vector for each item, all of one length."""
        try:
            shape = np.shape(vectors)
        except ValueError:
            shape = (len(vectors),)
        if len(shape) != 2 or shape[0] != count or self._dimension not in (None, shape[1]):
            raise EncoderError(
                f"{self!r} gave vectors of shape {shape} for {count} {what}s; ({count}, {self._dimension or 'd'}) is "
                f"needed"
            )
        self._dimension = shape[1]
        return np.asarray(vectors)

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


def _shown(text: object) -> str:
    return repr(text)[:60]


def _texts(texts: Sequence[str], method: str) -> list[str]:
    return [check_text(text, method, index) for index, text in enumerate(listed_texts(texts, method))]
