"""An encoder that remembers on disk what it has embedded, for services that are paid by the item and slow models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from commonscale.core.encoder_methods import lacking
from commonscale.core.errors import InvalidInputError
from commonscale.encoders.base import EncodedBatch, Encoder, Role, Vectors
from commonscale.encoders.cache.items import Item, image_items, text_items
from commonscale.encoders.cache.run import Encode, Run
from commonscale.encoders.cache.store import VectorStore
from commonscale.encoders.checks import check_text, listed_images, listed_texts
from commonscale.encoders.image_sources import describe
from commonscale.encoders.images import ImageInput, ImageOptions
from commonscale.encoders.one_call import WholeCall

_PASSED_ON = ("max_tokens", "count_tokens")


class CachedEncoder:
    """Gives another encoder's vectors, and embeds every text and picture once.

    A vector is found by a hash of the item's bytes, the encoder's fingerprint and the role (question, passage,
    picture): a picture file is the same whether it comes as path, bytes, base64 or from a URL, and a file that was
    changed is another. What is missing is embedded in chunks, each kept as soon as it is there. Items that fail are
    never remembered. Any number of encoders, threads and processes may share a folder; it must be on a local disk.
    Threads that share one object of this class wait for each other's vectors; two objects, or two processes, that miss
    the same item at the same moment both embed it.
    An encoder that can be pickled can be pickled with its cache: the copy opens the same file.

    ``encode_texts_reporting``, ``encode_images_reporting``, ``max_tokens`` and ``count_tokens`` are there if the
    encoder has them. Its warnings of cut texts come for those that it embeds, not for remembered ones.

        with CachedEncoder(load_encoder("embed-v4.0"), "embeddings-cache") as encoder:
            index.add(documents, encoder.encode_texts(texts))

    Attributes:
        encoder: the encoder.
        chunk_size: how many items are embedded and kept together.
    """

    def __init__(
        self,
        encoder: Encoder,
        folder: str | os.PathLike[str],
        max_bytes: int = 10_000_000_000,
        *,
        chunk_size: int = 256,
        image_options: ImageOptions | None = None,
    ) -> None:
        """Set up the cache; the file is made, or opened, when it is first needed.

        Args:
            encoder: any encoder. Its fingerprint must change whenever its vectors do.
            folder: where the vectors are kept, in ``vectors.sqlite3``.
            max_bytes: most that they may take; beyond it those that were not used for longest are dropped.
            chunk_size: how many missing items the encoder gets at once: what a failure can cost, at most.
            image_options: whether and how URLs are downloaded; by default as the encoder does.

        Raises:
            InvalidInputError: if it is no encoder, or a number is too small.
        """
        missing = lacking(encoder)
        if missing:
            raise InvalidInputError(f"{type(encoder).__name__} is no encoder: it lacks {', '.join(missing)}")
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1:
            raise InvalidInputError(f"chunk_size must be a whole number of at least 1, got {chunk_size!r}")
        self.encoder = encoder
        self.chunk_size = chunk_size
        self._store = VectorStore(folder, max_bytes)
        own = getattr(getattr(encoder, "options", None), "images", None)
        self._image_options = image_options or (own if isinstance(own, ImageOptions) else ImageOptions())

    def __repr__(self) -> str:
        return f"CachedEncoder({self.encoder!r}, {str(self._store.path.parent)!r})"

    def __getattr__(self, name: str) -> Any:
        """Give what only some encoders have."""
        if name in _PASSED_ON:
            return getattr(self.encoder, name)
        if name in ("encode_texts_reporting", "encode_images_reporting") and hasattr(self.encoder, name):
            return self._texts_reporting if name == "encode_texts_reporting" else self._images_reporting
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @cached_property
    def dimension(self) -> int:
        """Length of every vector: as remembered, else as the encoder says."""
        return self._store.dimension(self.fingerprint) or self.encoder.dimension

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the vectors: the encoder's."""
        return self.encoder.fingerprint

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Embed questions.

        Args:
            questions: any number of strings.

        Returns:
            Unit rows in the order given, shape (n, dimension), float32: the encoder's, bit for bit.

        Raises:
            InvalidInputError: if a single string is given, a member is not a string, or the folder cannot be written.
            FileFormatError: if the file of the cache is damaged or of another kind; it is left as it is.
            Exception: what the encoder raises; chunks that were embedded before are kept.

        Warns:
            CacheWarning: if new vectors could not be kept, because the disk is full for example.
        """
        return self._texts(questions, "question", "encode_questions", self._all(self.encoder.encode_questions)).vectors

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed passages; like :meth:`encode_questions` in every other respect."""
        encode = getattr(self.encoder, "encode_texts_reporting", None) or self._all(self.encoder.encode_texts)
        return self._texts(texts, "text", "encode_texts", encode).vectors

    def encode_images(self, images: Sequence[ImageInput]) -> Vectors:
        """Embed pictures, all of them or none; like :meth:`encode_questions` in every other respect.

        Raises:
            ImageError: for a picture that cannot be used; those of its chunk that could be embedded are kept.
        """
        encode = getattr(self.encoder, "encode_images_reporting", None) or self._all(self.encoder.encode_images)
        return self._images(images, "encode_images", encode, strict=True).vectors

    def _texts_reporting(self, texts: Sequence[str]) -> EncodedBatch:
        """Embed the passages that can be embedded and report each one that cannot; as the encoder's own."""
        encode: Encode = self.encoder.encode_texts_reporting  # type: ignore[attr-defined]
        return self._texts(texts, "text", "encode_texts_reporting", encode, strict=False)

    def _images_reporting(self, images: Sequence[ImageInput]) -> EncodedBatch:
        """Embed the pictures that can be read and report each one that cannot; as the encoder's own."""
        encode: Encode = self.encoder.encode_images_reporting  # type: ignore[attr-defined]
        return self._images(images, "encode_images_reporting", encode, strict=False)

    def __len__(self) -> int:
        """Count the vectors in the folder, those of other encoders too."""
        return self._store.count()

    def __bool__(self) -> bool:
        """Say yes: an encoder with an empty cache is still an encoder."""
        return True

    @property
    def bytes_used(self) -> int:
        """Room that the vectors in the folder take, in bytes."""
        return self._store.bytes_used()

    def clear(self) -> None:
        """Forget all vectors in the folder, those of other encoders too."""
        self._store.clear()

    def close(self) -> None:
        """Close the file; the next use opens it again. Nothing is lost without it but a note of what was used last."""
        self._store.close()

    def __enter__(self) -> CachedEncoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all(self, encode: Any) -> Encode:
        """Make of a method that gives all vectors one that also says which."""
        return lambda items: EncodedBatch(np.asarray(encode(items)), tuple(range(len(items))), ())

    def _texts(
        self, given: Sequence[str], role: Role, method: str, encode: Encode, *, strict: bool = True
    ) -> EncodedBatch:
        texts = listed_texts(given, method)
        with self._call(len(texts), "text") as call:
            run = self._run(encode, call, len(texts), "text", lambda index: repr(texts[index])[:60], strict)
            fine = []
            for index, text in enumerate(texts):
                try:
                    fine.append((index, check_text(text, method, index)))
                except InvalidInputError as error:
                    run.leave_out(index, error)
                    call.advance(1)
            return self._through(run, text_items(fine, self.fingerprint, role))

    def _images(self, given: Sequence[ImageInput], method: str, encode: Encode, *, strict: bool) -> EncodedBatch:
        images = listed_images(given, method)
        with self._call(len(images), "image") as call:
            run = self._run(encode, call, len(images), "image", lambda index: describe(images[index]), strict)
            return self._through(run, image_items(images, self.fingerprint, self._image_options))

    def _call(self, count: int, what: str) -> WholeCall:
        return WholeCall(count, what, getattr(getattr(self.encoder, "options", None), "progress", False) is True)

    def _run(self, encode: Encode, call: WholeCall, count: int, what: str, name: Any, strict: bool) -> Run:
        return Run(self._store, self.fingerprint, encode, count, self.chunk_size, strict, what, name, call)

    def _through(self, run: Run, items: Iterable[Item]) -> EncodedBatch:
        run.take(items)
        return run.result(lambda: self.dimension)
