"""Work common to every encoder: checking input, batches, order, overlap, progress, truncation and bad items."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commonscale.core.errors import CommonscaleError, ImageError, InvalidInputError
from commonscale.encoders.base import EncodedBatch, Role, Vectors
from commonscale.encoders.checks import check_text, checked_counts, listed_images, listed_texts
from commonscale.encoders.collecting import Collector, Work
from commonscale.encoders.image_sources import describe
from commonscale.encoders.images import ImageInput, read_image
from commonscale.encoders.one_call import Cuts, progress, warn_of_cuts
from commonscale.encoders.options import EncodingOptions
from commonscale.encoders.pipeline import ahead, groups

if TYPE_CHECKING:
    from PIL.Image import Image

# Batches of texts that are tokenized, and batches of pictures that are decoded, while the model computes another.
_AHEAD = 2
# Texts that are measured at once.
_COUNTED = 1000


class BatchedEncoder(ABC):
    """Base of the encoders in this package: a family adds only how one batch is embedded.

    A family implements ``dimension``, ``fingerprint``, ``_embed_texts`` and ``_embed_images``, and overrides
    ``_prepare_texts`` and ``_prepare_image`` for the work that can be done ahead of the model, in other threads;
    where its texts have a limit, ``max_tokens`` and ``count_tokens``.

    Attributes:
        options: how it works through its input.
    """

    concurrency: int = 1
    """Batches that are embedded at the same time, in threads: more than one for services, which mostly wait."""

    most_texts: int = sys.maxsize
    """Most texts of one batch, whatever ``options.batch_size`` is: the limit of a service's requests."""

    most_images: int = sys.maxsize
    """The same for pictures."""

    unit: str = "tokens"
    """What :meth:`count_tokens` counts, for messages."""

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
    def max_tokens(self) -> int | None:
        """Longest text that is read whole, as :meth:`count_tokens` counts; None if that is not known."""
        return None

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Measure each whole text: in tokens, its end marks included; in characters if they cannot be counted here."""
        return [len(text) for text in listed_texts(texts, "count_tokens")]

    def _prepare_texts(self, texts: list[str], role: Role) -> Any:
        """Do what the model need not wait for, such as tokenizing; texts over the limit are cut."""
        return texts

    @abstractmethod
    def _embed_texts(self, prepared: Any, role: Role) -> NDArray[Any]:
        """Return the raw features of one prepared batch, shape (n, dimension)."""

    def _prepare_image(self, image: Image) -> Any:
        """Do what the model need not wait for with one upright RGB picture, such as scaling it; thread-safe."""
        return image

    @abstractmethod
    def _embed_images(self, prepared: list[Any]) -> NDArray[Any]:
        """Return the raw features of a batch of prepared pictures, shape (n, dimension)."""

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Embed questions.

        Args:
            questions: any number of strings; an empty sequence gives shape (0, dimension).

        Returns:
            Unit rows in the order given, shape (n, dimension), float32.

        Raises:
            InvalidInputError: if a single string is given, or a member is not a string.
            EncoderError: if the model gives a vector of norm zero or with NaN; if a service refuses or fails.

        Warns:
            TruncationWarning: once per call if texts are longer than ``max_tokens``, with their number.
        """
        return self._encode(questions, "question", "encode_questions", strict=True).vectors

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed passages; like :meth:`encode_questions` in every other respect."""
        return self._encode(texts, "text", "encode_texts", strict=True).vectors

    def encode_texts_reporting(self, texts: Sequence[str]) -> EncodedBatch:
        """Embed the passages that can be embedded and report each one that cannot.

        Args:
            texts: as for :meth:`encode_texts`.

        Returns:
            The vectors, the index in the input of each row, and one record per text left out: no string, no valid
            Unicode, refused by a service, or given a vector that cannot be used.

        Raises:
            InvalidInputError: if a single string is given in place of a list.
            EncoderError: if the model gave several vectors and none can be used, or a service cannot be used.
        """
        return self._encode(texts, "text", "encode_texts_reporting", strict=False)

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
            EncoderError: if the model gives a vector of norm zero or with NaN; if a service refuses or fails.
        """
        return self._encode_pictures(listed_images(images, "encode_images"), strict=True).vectors

    def encode_images_reporting(self, images: Sequence[ImageInput]) -> EncodedBatch:
        """Embed the pictures that can be read and report each one that cannot.

        Args:
            images: as for :meth:`encode_images`.

        Returns:
            The vectors, the index in the input of each row, and one record per picture left out: unreadable, refused
            by a service, or given a vector that cannot be used.

        Raises:
            InvalidInputError: if a single picture is given in place of a list.
            EncoderError: if the model gave several vectors and none can be used, or a service cannot be used.
        """
        return self._encode_pictures(listed_images(images, "encode_images_reporting"), strict=False)

    def _encode(self, given: Sequence[str], role: Role, method: str, *, strict: bool) -> EncodedBatch:
        items = listed_texts(given, method)
        work = Work(
            "text",
            len(items),
            lambda rows: self._prepare_texts([items[row] for row in rows], role),
            lambda prepared: self._embed_texts(prepared, role),
            lambda row: repr(items[row])[:60],
        )
        collector = Collector(work, strict)
        rows = []
        for row, item in enumerate(items):
            try:
                check_text(item, method, row)
                rows.append(row)
            except InvalidInputError as error:
                collector.leave_out(row, error)
        # In parts: a tokenizer's whole answer for a million texts would fill the memory.
        parts = groups((items[row] for row in rows), _COUNTED)
        counts = (checked_counts(self.count_tokens(part), len(part)) for part in parts)
        lengths = np.fromiter(chain.from_iterable(counts), dtype=np.int64)
        self._warn_of_truncation(lengths)
        # Neighbors in length share a batch, so that little is padded; the longest come first, so that a batch
        # too large for memory fails at once.
        order = np.asarray(rows, dtype=np.intp)[np.argsort(-lengths, kind="stable")].tolist()
        batches = list(groups(order, min(self.options.batch_size, self.most_texts)))
        prepared = ahead(lambda batch: (batch, work.prepare(batch)), batches, min(1, len(batches) - 1), _AHEAD)
        with progress(len(rows), "text", self.options.progress) as advance, closing(prepared):
            for batch in self._embedded(collector, prepared):
                advance(len(batch))
        return collector.result(lambda: self.dimension)

    def _warn_of_truncation(self, lengths: NDArray[np.int64]) -> None:
        limit = self.max_tokens
        if limit is not None and len(lengths):
            cuts = Cuts(int((lengths > limit).sum()), len(lengths), int(lengths.max()))
            warn_of_cuts(cuts, self._words_of_cuts)

    def _words_of_cuts(self, cuts: Cuts) -> str:
        """Say that texts were cut, for the warning."""
        return (
            f"{cuts.cut} of {cuts.given} texts are longer than the {self.max_tokens} {self.unit} that this encoder "
            f"reads (the longest has {cuts.longest}): what follows was cut off. Split long texts into smaller passages."
        )

    def _encode_pictures(self, images: list[ImageInput], *, strict: bool) -> EncodedBatch:
        ready: dict[int, Any] = {}
        work = Work(
            "image",
            len(images),
            lambda rows: [ready[row] for row in rows],
            self._embed_images,
            lambda row: describe(images[row]),
        )
        collector = Collector(work, strict)
        size = min(self.options.batch_size, self.most_images)
        threads = self.options.threads if len(images) > 1 else 0
        pictures = ahead(lambda row: self._read(images[row]), range(len(images)), threads, _AHEAD * size)
        with progress(len(images), "image", self.options.progress) as advance, closing(pictures):

            def readable() -> Iterator[int]:
                for row, picture in enumerate(pictures):
                    if isinstance(picture, ImageError):
                        collector.leave_out(row, picture)
                        advance(1)
                    else:
                        ready[row] = picture
                        yield row

            batches = ((batch, work.prepare(batch)) for batch in groups(readable(), size))
            for batch in self._embedded(collector, batches):
                for row in batch:
                    del ready[row]
                advance(len(batch))
        return collector.result(lambda: self.dimension)

    def _embedded(self, collector: Collector, prepared: Iterable[tuple[list[int], Any]]) -> Iterator[list[int]]:
        """Embed prepared batches, ``concurrency`` at a time, and tell of each that is done."""

        def embed(part: tuple[list[int], Any]) -> list[int]:
            collector.embed(*part)
            return part[0]

        with closing(ahead(embed, prepared, self.concurrency if self.concurrency > 1 else 0, self.concurrency)) as done:
            yield from done

    def _read(self, image: ImageInput) -> Any:
        """Read and prepare one picture; its error is returned, to be raised or noted in the order of the input."""
        try:
            return self._read_whole(image)
        except ImageError as error:
            return error
        except (CommonscaleError, OSError):
            raise
        except Exception as error:
            if "memory" in f"{type(error).__name__} {error}".lower():
                raise
            trouble = ImageError(f"cannot be prepared for the model: {type(error).__name__}: {error}")
            trouble.__cause__ = error
            return trouble

    def _read_whole(self, image: ImageInput) -> Any:
        """Read and prepare one picture; for a family that needs its file as well as its pixels."""
        return self._prepare_image(read_image(image, self.options.images))
