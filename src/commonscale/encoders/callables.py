"""Any model at all, as two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.base import Role
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.checks import checked_counts, listed_texts
from commonscale.encoders.options import EncodingOptions, check_whole

if TYPE_CHECKING:
    from PIL.Image import Image


class CallableEncoder(BatchedEncoder):
    """An encoder made of functions: everything around them (batches, pictures, norms, errors) is done here.

    A function gets a list and returns one vector for each member, shape (n, dimension), of any norm; pictures come
    as upright RGB PIL images. For functions of a single item say ``single=True``.

    >>> encoder = CallableEncoder(
    ...     embed_text=lambda texts: [[len(text), 1.0] for text in texts],
    ...     embed_image=lambda images: [[image.width, image.height] for image in images],
    ...     fingerprint="lengths-1",
    ... )
    >>> encoder.encode_texts(["abc"]).tolist()
    [[0.9486832618713379, 0.3162277638912201]]
    """

    def __init__(
        self,
        *,
        embed_text: Callable[[Any], ArrayLike] | None = None,
        embed_image: Callable[[Any], ArrayLike] | None = None,
        embed_question: Callable[[Any], ArrayLike] | None = None,
        fingerprint: str,
        dimension: int | None = None,
        single: bool = False,
        max_tokens: int | None = None,
        count_tokens: Callable[[Sequence[str]], list[int]] | None = None,
        concurrency: int = 1,
        options: EncodingOptions | None = None,
    ) -> None:
        """Set up the encoder.

        Args:
            embed_text: from passages to vectors.
            embed_image: from PIL images to vectors.
            embed_question: from questions to vectors; by default ``embed_text``.
            fingerprint: names the vectors: change it whenever they change, since calibrations, indexes and caches go
                by it.
            dimension: length of a vector; by default that of the first ones.
            single: the functions take one item and return one vector.
            max_tokens: the longest text that is read whole, for the warning; as ``count_tokens`` counts.
            count_tokens: measures texts; by default in characters.
            concurrency: how many batches may be embedded at once, in threads.
            options: batches, progress, how pictures are read.

        Raises:
            InvalidInputError: if there is no function at all, or an argument cannot be used.
        """
        if options is not None and not isinstance(options, EncodingOptions):
            raise InvalidInputError(f"options must be EncodingOptions(), got {options!r}")
        super().__init__(options or EncodingOptions())
        if embed_text is None and embed_image is None and embed_question is None:
            raise InvalidInputError("CallableEncoder() needs embed_text=, embed_image= or both")
        if not isinstance(fingerprint, str) or not fingerprint:
            raise InvalidInputError(f"fingerprint must be a text that names the vectors, got {fingerprint!r}")
        check_whole("concurrency", concurrency, 1)
        for name, value in (("dimension", dimension), ("max_tokens", max_tokens)):
            if value is not None:
                check_whole(name, value, 1)
        self._embed = {"text": embed_text, "image": embed_image, "question": embed_question or embed_text}
        for name, function in {
            "embed_text": embed_text,
            "embed_image": embed_image,
            "embed_question": embed_question,
            "count_tokens": count_tokens,
        }.items():
            if function is not None and not callable(function):
                raise InvalidInputError(f"{name} must be a function, got {function!r}")
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._single = single
        self._max_tokens = max_tokens
        self._count = count_tokens
        self.unit = "tokens" if count_tokens else "characters"
        self.concurrency = concurrency

    def __repr__(self) -> str:
        """Show the name of the vectors."""
        return f"CallableEncoder(fingerprint={self._fingerprint!r})"

    @property
    def dimension(self) -> int:
        """Length of every vector: as given, else that of the first ones, for which something is embedded if need be."""
        if self._dimension is not None:
            return self._dimension
        for role in ("text", "question"):
            if self._embed[role] is not None:
                return int(self._call(role, ["a"]).shape[1])
        from PIL import Image

        return int(self._call("image", [Image.new("RGB", (32, 32), "gray")]).shape[1])

    @property
    def fingerprint(self) -> str:
        """The name of the vectors that was given."""
        return self._fingerprint

    @property
    def max_tokens(self) -> int | None:
        """The limit that was given."""
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Measure texts by the function that was given, or in characters."""
        if self._count is None:
            return super().count_tokens(texts)
        listed = listed_texts(texts, "count_tokens")
        return checked_counts(self._count(listed), len(listed)) if listed else []

    def _embed_texts(self, prepared: list[str], role: Role) -> NDArray[Any]:
        return self._call(role, prepared)

    def _embed_images(self, prepared: list[Image]) -> NDArray[Any]:
        return self._call("image", prepared)

    def _call(self, role: str, items: list[Any]) -> NDArray[Any]:
        function = self._embed[role]
        if function is None:
            raise InvalidInputError(f"{self!r} embeds no {role}s: give it embed_{role}=")
        given = [function(item) for item in items] if self._single else function(items)
        try:
            found = np.asarray(
                [_readable(row) for row in given] if isinstance(given, (list, tuple)) else _readable(given), np.float64
            )
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"embed_{role} gave what is no array of numbers, shape ({len(items)}, dimension): {error}"
            ) from error
        if found.ndim != 2 or len(found) != len(items) or self._dimension not in (None, found.shape[1]):
            width = "dimension" if self._dimension is None else self._dimension
            raise InvalidInputError(
                f"embed_{role} gave an array of shape {found.shape} for {len(items)} {role}s; ({len(items)}, {width}) "
                "is needed. A function of one item needs single=True; vectors of another length are of another space "
                "and need an encoder of their own."
            )
        self._dimension = found.shape[1]
        return found


def _readable(found: Any) -> Any:
    """Return a tensor of torch as NumPy reads it: without its history, on the CPU, in float64; else what was given."""
    return found.detach().cpu().double().numpy() if hasattr(found, "detach") else found
