"""From LlamaIndex's query bundles to embedded questions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle, QueryType
from llama_index.core.utils import get_tqdm_iterable

from commonscale.core.concurrency import amap_bounded
from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.recorded import question_mark
from commonscale.core.types import Modality, Question
from commonscale.llama_index.embedding import CommonscaleEmbedding

_AT_ONCE = 16
"""Questions that are embedded concurrently by models without a batch method: a polite number of requests."""

IMAGE_QUESTION = (
    "the question has an image ({path!r}), but only text questions can be calibrated and ranked: ask in words, "
    "or leave image_path out"
)


class QuestionEmbedder:
    """Embeds each question once per distinct model, and never writes to a bundle.

    An embedding that is already in the bundle is taken as ``bundles_by``'s (LlamaIndex's convention) and
    serves every modality of that model; other models embed the question themselves. Where a bundle has
    several ``custom_embedding_strs`` their embeddings are averaged, as LlamaIndex does. All vectors are
    normalized.
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

    def embed(self, bundles: Sequence[QueryBundle], *, show_progress: bool = False) -> list[Question]:
        """Embed questions, one pass per model.

        Args:
            bundles: the questions.
            show_progress: show a progress bar.

        Returns:
            One ``Question`` per bundle.

        Raises:
            InvalidInputError: if a question has an image, has no text, or its embedding is null or not finite.
        """
        strings = [_strings(bundle) for bundle in bundles]
        by_model = []
        for place, model in enumerate(self._models):
            wanted = _wanted(bundles, strings, place == self._given)
            by_model.append(self._questions(bundles, strings, place, embed_questions(model, wanted, show_progress)))
        return self._join(bundles, by_model)

    async def aembed(self, bundles: Sequence[QueryBundle]) -> list[Question]:
        """As ``embed``, through the models' asynchronous methods."""
        strings = [_strings(bundle) for bundle in bundles]
        wanted = [_wanted(bundles, strings, place == self._given) for place in range(len(self._models))]
        vectors = await asyncio.gather(*(_aembed(m, w) for m, w in zip(self._models, wanted, strict=True)))
        by_model = [self._questions(bundles, strings, place, found) for place, found in enumerate(vectors)]
        return self._join(bundles, by_model)

    def _questions(
        self,
        bundles: Sequence[QueryBundle],
        strings: Sequence[list[str]],
        place: int,
        embedded: Sequence[Sequence[float]],
    ) -> npt.NDArray[np.float32]:
        """Give one model's unit vectors, shape (questions, d), from the embeddings of the wanted strings."""
        rest = iter(embedded)
        rows: list[Any] = []
        for bundle, parts in zip(bundles, strings, strict=True):
            if place == self._given and bundle.embedding is not None:
                rows.append(bundle.embedding)
            elif len(parts) == 1:
                rows.append(next(rest))
            else:
                rows.append(np.mean([next(rest) for _ in parts], axis=0))
        return unit_rows(rows, "question vector") if rows else np.empty((0, 0), dtype=np.float32)

    def _join(self, bundles: Sequence[QueryBundle], by_model: Sequence[npt.NDArray[np.float32]]) -> list[Question]:
        if len(by_model) == 1:
            return [Question(b.query_str, vector) for b, vector in zip(bundles, by_model[0], strict=True)]
        return [
            Question(bundle.query_str, vectors={m: by_model[place][row] for m, place in self._place.items()})
            for row, bundle in enumerate(bundles)
        ]


def as_bundle(question: QueryType) -> QueryBundle:
    """Give the bundle of a question; a string becomes one, a bundle stays the caller's own object.

    Raises:
        InvalidInputError: if it is neither.
    """
    if isinstance(question, str):
        return QueryBundle(question)
    if isinstance(question, QueryBundle):
        return question
    raise InvalidInputError(f"a question is a string or a QueryBundle, got {question!r}")


def bundle_mark(bundle: QueryBundle) -> str:
    """Give what tells this question from others; see ``commonscale.core.recorded.question_mark``.

    Strings and vectors to embed in its place do not count where it has words: engines put them into a bundle of
    their own (HyDE). A bundle without words is told by them.
    """
    words = bundle.query_str
    if not words.strip():
        words = repr((bundle.custom_embedding_strs, bundle.embedding))
    return question_mark(words)


def fingerprint_of(model: BaseEmbedding) -> str:
    """Identify an embedding model: our encoders' fingerprint, else class and model name."""
    if isinstance(model, CommonscaleEmbedding):
        return model.fingerprint
    return f"{type(model).__name__}:{model.model_name}"


def _strings(bundle: QueryBundle) -> list[str]:
    if bundle.image_path is not None:
        raise InvalidInputError(IMAGE_QUESTION.format(path=bundle.image_path))
    strings = [text for text in bundle.embedding_strs if text.strip()]
    if not strings and bundle.embedding is None:
        raise InvalidInputError(f"the question {bundle.query_str!r} has no text and no embedding; ask something")
    return strings or [bundle.query_str]


def _wanted(bundles: Sequence[QueryBundle], strings: Sequence[list[str]], given: bool) -> list[str]:
    """List the strings that a model must embed, in order; ``given``: unless a bundle brings its embedding."""
    pairs = zip(bundles, strings, strict=True)
    return [text for bundle, parts in pairs if not given or bundle.embedding is None for text in parts]


def embed_questions(model: BaseEmbedding, texts: Sequence[str], show_progress: bool = False) -> list[Any]:
    """Embed questions by the model's method for queries, in batches where it has one for many."""
    if not isinstance(model, CommonscaleEmbedding):
        return [
            model.get_query_embedding(text) for text in get_tqdm_iterable(texts, show_progress, "Embedding questions")
        ]
    size = model.embed_batch_size
    starts = get_tqdm_iterable(range(0, len(texts), size), show_progress, "Embedding questions")
    return [row for start in starts for row in model.get_query_embedding_batch(texts[start : start + size])]


async def _aembed(model: BaseEmbedding, texts: Sequence[str]) -> list[Any]:
    if isinstance(model, CommonscaleEmbedding):
        return await model.aget_query_embedding_batch(texts) if texts else []
    return await amap_bounded(model.aget_query_embedding, texts, _AT_ONCE)


def as_bundles(questions: Sequence[QueryType]) -> list[QueryBundle]:
    """Give every question as a bundle.

    Raises:
        InvalidInputError: if it is a single question, or one of them is none.
    """
    if isinstance(questions, (str, QueryBundle)):
        raise InvalidInputError(f"a list of questions is needed, got one question: {questions!r}; put it into a list")
    return [as_bundle(question) for question in questions]
