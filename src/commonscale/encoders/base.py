"""What an encoder is, and what it gives back when some items cannot be embedded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import InvalidInputError

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput

Vectors = NDArray[np.float32]
"""Embeddings, one a row: shape (n, dimension), float32, every row of unit norm."""


Role = Literal["question", "text"]
"""What a text is to a search; some models embed questions unlike passages."""


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns questions, passages and pictures into unit vectors of one space.

    The three methods take a sequence and return :data:`Vectors` in the same order; an empty sequence gives
    shape ``(0, dimension)``. Questions and passages are told apart because some models embed them
    differently; CLIP does not.
    """

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors: equal for equal weights and settings on every machine, else different."""
        ...

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Embed questions."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed passages."""
        ...

    def encode_images(self, images: Sequence[ImageInput]) -> Vectors:
        """Embed pictures, all of them or none: one bad picture raises ImageError."""
        ...


@dataclass(frozen=True)
class ItemFailure:
    """A text or picture that was left out.

    Attributes:
        index: its place in the sequence that was given.
        description: a short name: the path, the URL without its secrets, the beginning of the text, or the type.
        reason: why it cannot be used, in one sentence.
        error: the exception itself: an ``ImageError``, an ``InvalidInputError`` or an ``EncoderError``.
    """

    index: int
    description: str
    reason: str
    error: Exception


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Vectors of the items that could be embedded, and a record of every one that could not.

    ``vectors[row]`` belongs to the item ``kept[row]`` of those given; ``kept`` and the indices of ``failures`` are
    disjoint and together cover the input, so nothing is lost silently. :meth:`pick` lines up anything else (ids,
    paths) with the vectors.

    Attributes:
        vectors: unit rows, shape (len(kept), dimension).
        kept: index in the input of each row, ascending.
        failures: one record per item left out, by ascending index.
    """

    vectors: Vectors
    kept: tuple[int, ...]
    failures: tuple[ItemFailure, ...]

    def pick(self, items: Sequence[Any]) -> list[Any]:
        """Return the members of a parallel sequence that belong to the rows of ``vectors``.

        Args:
            items: one member per item given to the encoder, for example ids.

        Returns:
            The members at ``kept``, in order.

        Raises:
            InvalidInputError: if ``items`` is not as long as the input was.
        """
        given = len(self.kept) + len(self.failures)
        if len(items) != given:
            raise InvalidInputError(f"pick() needs one member per item that was given: {given} items, {len(items)}")
        return [items[index] for index in self.kept]
