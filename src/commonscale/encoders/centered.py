"""Gap removal at indexing time: an encoder whose vectors are centred."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from commonscale.core.centering import QUESTION, Centering
from commonscale.core.encoder_methods import lacking
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.encoders.base import EncodedBatch, Encoder, Vectors
from commonscale.encoders.images import ImageInput

_PASSED_ON = ("max_tokens", "count_tokens", "options")


def centered_fingerprint(fingerprint: str, centering: Centering, modality: Modality | None = None) -> str:
    """Name centred vectors: the encoder's fingerprint, and a digest of the means that are subtracted.

    So a calibration or an index of other vectors, uncentred ones or those of other means, is refused.

    Args:
        fingerprint: that of the vectors as they are.
        centering: the means.
        modality: whose question mean is subtracted, where they differ.

    Returns:
        ``"<fingerprint>+centered-<16 hex digits>"``.
    """
    digest = hashlib.blake2b(repr(modality).encode(), digest_size=8)
    for means in (centering.questions, centering.documents):
        for name in sorted(means):
            digest.update(name.encode() + b"\0" + np.asarray(means[name], dtype="<f8").tobytes())
    return f"{fingerprint}+centered-{digest.hexdigest()}"


def check_centering(centering: Any, roles: Sequence[Modality] = ()) -> Centering:
    """Check that it is a centering, with means of these modalities.

    Raises:
        InvalidInputError: if it is not.
    """
    if not isinstance(centering, Centering):
        raise InvalidInputError(
            f"a Centering is needed, got {type(centering).__name__}; make one by Centering.fit(questions, documents), "
            f"or take that of a calibration: calibration.centering"
        )
    for role in roles:
        if role not in centering.documents:
            raise InvalidInputError(
                f"this Centering has no mean of modality {role!r}, only of {[*centering.documents]}"
            )
    return centering


class CenteredEncoder:
    """Gives another encoder's vectors with their mean subtracted, of unit norm again (GR-CLIP, arXiv 2507.19054).

    Questions lose the mean of questions, passages that of passages, pictures that of pictures; a picture that is a
    question is embedded as pictures are. Index, calibrate and search with it as with any encoder: no store need know.
    The vectors have a fingerprint of their own, so indexes and calibrations of others are refused.

        encoder = load_encoder("openai/clip-vit-base-patch32")
        means = {"text": encoder.encode_texts(some_texts), "image": encoder.encode_images(some_pictures)}
        centered = CenteredEncoder(encoder, Centering.fit(encoder.encode_questions(questions), means))

    ``encode_texts_reporting``, ``encode_images_reporting``, ``max_tokens``, ``count_tokens`` and ``options`` are there
    if the encoder has them. Put a ``CachedEncoder`` inside, not around it: other means then cost no embedding.

    Attributes:
        encoder: the encoder.
        centering: the means.
        text: the modality whose mean passages have.
        image: the modality whose mean pictures have.
        modality: the modality whose question mean questions have; None if there is only one.
    """

    def __init__(
        self,
        encoder: Encoder,
        centering: Centering,
        *,
        text: Modality = TEXT,
        image: Modality = IMAGE,
        modality: Modality | None = None,
    ) -> None:
        """Wrap an encoder.

        Args:
            encoder: any encoder.
            centering: means of its vectors, by ``Centering.fit``, or a calibration's.
            text: see the attributes.
            image: see the attributes.
            modality: see the attributes.

        Raises:
            InvalidInputError: if it is no encoder or no centering.
        """
        missing = lacking(encoder)
        if missing:
            raise InvalidInputError(f"{type(encoder).__name__} is no encoder: it lacks {', '.join(missing)}")
        self.encoder = encoder
        self.centering = check_centering(centering, () if modality is None else (modality,))
        self.text = text
        self.image = image
        self.modality = modality

    def __repr__(self) -> str:
        return f"CenteredEncoder({self.encoder!r})"

    def __getattr__(self, name: str) -> Any:
        """Give what only some encoders have."""
        if name in _PASSED_ON:
            return getattr(self.encoder, name)
        if name in ("encode_texts_reporting", "encode_images_reporting") and hasattr(self.encoder, name):
            return self._texts_reporting if name == "encode_texts_reporting" else self._images_reporting
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @cached_property
    def dimension(self) -> int:
        """Length of every vector."""
        return self.encoder.dimension

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the vectors: the encoder's, and a digest of the means."""
        return centered_fingerprint(self.encoder.fingerprint, self.centering, self.modality)

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Embed questions, without the mean of questions.

        Args:
            questions: any number of strings.

        Returns:
            Unit rows in the order given, shape (n, dimension), float32.

        Raises:
            InvalidInputError: if the centering has another dimension, or a vector is the mean itself.
            Exception: what the encoder raises.
        """
        return self.centering.center(self.encoder.encode_questions(questions), QUESTION, self.modality)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed passages, without the mean of passages; otherwise as :meth:`encode_questions`."""
        return self.centering.center(self.encoder.encode_texts(texts), self.text)

    def encode_images(self, images: Sequence[ImageInput]) -> Vectors:
        """Embed pictures, without the mean of pictures; otherwise as :meth:`encode_questions`."""
        return self.centering.center(self.encoder.encode_images(images), self.image)

    def encode_blended(self, texts: Sequence[str], images: Sequence[ImageInput], alpha: float = 0.5) -> Vectors:
        """Embed documents that are a text and a picture together (see ``Centering.blend``).

        Args:
            texts: their texts.
            images: their pictures, as many.
            alpha: weight of the text, in [0, 1].

        Returns:
            Unit rows, one per document.

        Raises:
            InvalidInputError: if their numbers differ, or ``alpha`` is out of range.
            ImageError: for the first picture that cannot be used.
        """
        if len(texts) != len(images):
            raise InvalidInputError(
                f"texts and pictures must pair up, got {len(texts)} texts and {len(images)} pictures"
            )
        pair = self.encoder.encode_texts(texts), self.encoder.encode_images(images)
        return self.centering.blend(*pair, alpha, text=self.text, image=self.image)

    def _texts_reporting(self, texts: Sequence[str]) -> EncodedBatch:
        """Embed the passages that can be embedded and report each one that cannot."""
        encoder: Any = self.encoder
        return self._centered(encoder.encode_texts_reporting(texts), self.text)

    def _images_reporting(self, images: Sequence[ImageInput]) -> EncodedBatch:
        """Embed the pictures that can be embedded and report each one that cannot."""
        encoder: Any = self.encoder
        return self._centered(encoder.encode_images_reporting(images), self.image)

    def _centered(self, batch: EncodedBatch, role: Modality) -> EncodedBatch:
        return replace(batch, vectors=self.centering.center(batch.vectors, role))
