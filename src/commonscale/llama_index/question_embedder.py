"""From LlamaIndex's query bundles to embedded questions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle
from llama_index.core.utils import get_tqdm_iterable

from commonscale.core.concurrency import amap_bounded
from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality, Question
from commonscale.core.wording import check_wording
from commonscale.llama_index.image_questions import aembed_pictures, check_reads, embed_pictures, with_text

_AT_ONCE = 16
"""Questions that are embedded concurrently by models without a batch method: a polite number of requests."""


class _Asked(NamedTuple):
    """What is to be embedded of a bundle: strings, or one picture."""

    bundle: QueryBundle
    strings: list[str]
    picture: str | None


class QuestionEmbedder:
    """Embeds each question once per distinct model, and never writes to a bundle.

    An embedding that is already in the bundle is taken as ``bundles_by``'s (LlamaIndex's convention) and
    serves every modality of that model; other models embed the question themselves. Where a bundle has
    several ``custom_embedding_strs`` their embeddings are averaged, as LlamaIndex does. A bundle with a picture in
    ``image_path`` is a question that is a picture: its words serve only retrievers that search by words. All vectors
    are normalized.
    """

    def __init__(self, models: Mapping[Modality, BaseEmbedding], bundles_by: BaseEmbedding | None = None) -> None:
        """Set up the embedder.

        Args:
            models: one embedding model per modality that is searched by vector.
            bundles_by: the model that bundles are embedded with; None for the first.
        """
        self._models: list[BaseEmbedding] = []
        self._place: dict[Modality, int] = {}
        for modality, model in models.items():
            # By identity: equal settings do not mean equal weights.
            place = next((i for i, known in enumerate(self._models) if known is model), len(self._models))
            if place == len(self._models):
                self._models.append(model)
            self._place[modality] = place
        # -1: that model embeds no question, since the modality it was given for is searched by words.
        first = (i for i, known in enumerate(self._models) if bundles_by is None or known is bundles_by)
        self._given = next(first, -1)

    def embed(
        self,
        bundles: Sequence[QueryBundle],
        *,
        show_progress: bool = False,
        modalities: Collection[Modality] | None = None,
    ) -> list[Question]:
        """Embed questions, one pass per model.

        Args:
            bundles: the questions.
            show_progress: show a progress bar.
            modalities: those that will be searched; None for all. Models of others are not asked.

        Returns:
            One ``Question`` per bundle.

        Raises:
            InvalidInputError: if a question has no text and no image, its embedding is null or not finite, or it is an
                image and a model reads none.
        """
        asked = [_read(bundle) for bundle in bundles]
        rows = {}
        for place in self._places(asked, modalities):
            words, pictures = _wanted(asked, place == self._given)
            model = self._models[place]
            found = (
                embed_questions(model, words, show_progress),
                embed_pictures(model, pictures, show_progress),
            )
            rows[place] = self._rows(asked, place, *found)
        return self._join(asked, rows)

    async def aembed(
        self, bundles: Sequence[QueryBundle], *, modalities: Collection[Modality] | None = None
    ) -> list[Question]:
        """As ``embed``, through the models' asynchronous methods."""
        asked = [_read(bundle) for bundle in bundles]
        places = self._places(asked, modalities)

        async def one(place: int) -> npt.NDArray[np.float32]:
            words, pictures = _wanted(asked, place == self._given)
            model = self._models[place]
            return self._rows(
                asked, place, *await asyncio.gather(_aembed(model, words), aembed_pictures(model, pictures))
            )

        return self._join(asked, dict(zip(places, await asyncio.gather(*map(one, places)), strict=True)))

    def _places(self, asked: Sequence[_Asked], modalities: Collection[Modality] | None) -> list[int]:
        """Give the models to ask, and check that they read pictures if there are any for them."""
        searched = {m: place for m, place in self._place.items() if modalities is None or m in modalities}
        for modality, place in searched.items():
            if any(a.picture is not None and not _is_given(a, place == self._given) for a in asked):
                check_reads(self._models[place], modality)
        return list(dict.fromkeys(searched.values()))

    def _rows(
        self, asked: Sequence[_Asked], place: int, words: Sequence[Any], pictures: Sequence[Any]
    ) -> npt.NDArray[np.float32]:
        """Give one model's unit vectors, shape (questions, d), from the embeddings of what was wanted of it."""
        rest, shown = iter(words), iter(pictures)
        rows: list[Any] = []
        for one in asked:
            if _is_given(one, place == self._given):
                rows.append(one.bundle.embedding)
            elif one.picture is not None:
                rows.append(next(shown))
            elif len(one.strings) == 1:
                rows.append(next(rest))
            else:
                rows.append(np.mean([next(rest) for _ in one.strings], axis=0))
        return unit_rows(rows, "question vector") if rows else np.empty((0, 0), dtype=np.float32)

    def _join(self, asked: Sequence[_Asked], rows: Mapping[int, npt.NDArray[np.float32]]) -> list[Question]:
        questions = []
        for row, (bundle, _, picture) in enumerate(asked):
            kind: Literal["text", "image"] = "text" if picture is None else "image"
            if len(self._models) == 1:
                questions.append(Question(bundle.query_str, rows[0][row] if rows else None, kind=kind))
            else:
                vectors = {m: rows[place][row] for m, place in self._place.items() if place in rows}
                questions.append(Question(bundle.query_str, vectors=vectors, kind=kind))
        return questions


def _read(given: QueryBundle) -> _Asked:
    bundle = with_text(given)
    if bundle.image_path is not None:
        return _Asked(bundle, [], bundle.image_path)
    strings = [text for text in bundle.embedding_strs if text.strip()]
    if not strings and bundle.embedding is None:
        raise InvalidInputError(f"the question {bundle.query_str!r} has no text and no embedding; ask something")
    for text in strings:
        check_wording(text)
    return _Asked(bundle, strings or [bundle.query_str], None)


def _is_given(asked: _Asked, given: bool) -> bool:
    """Tell whether the bundle brings its embedding; ``given``: whether it would be this model's."""
    return given and asked.bundle.embedding is not None


def _wanted(asked: Sequence[_Asked], given: bool) -> tuple[list[str], list[str]]:
    """List the strings and the pictures that a model must embed, in order; ``given``: see ``_is_given``."""
    missing = [one for one in asked if not _is_given(one, given)]
    return [text for one in missing for text in one.strings], [o.picture for o in missing if o.picture is not None]


def embed_questions(model: BaseEmbedding, texts: Sequence[str], show_progress: bool = False) -> list[Any]:
    """Embed questions by the model's method for queries, in batches where it has one for many."""
    many = getattr(model, "get_query_embedding_batch", None)
    if not callable(many):
        return [
            model.get_query_embedding(text) for text in get_tqdm_iterable(texts, show_progress, "Embedding questions")
        ]
    size = model.embed_batch_size
    starts = get_tqdm_iterable(range(0, len(texts), size), show_progress, "Embedding questions")
    return [row for start in starts for row in many(texts[start : start + size])]


async def _aembed(model: BaseEmbedding, texts: Sequence[str]) -> list[Any]:
    many = getattr(model, "aget_query_embedding_batch", None)
    if callable(many):
        found: list[Any] = await many(texts) if texts else []
        return found
    return await amap_bounded(model.aget_query_embedding, texts, _AT_ONCE)
