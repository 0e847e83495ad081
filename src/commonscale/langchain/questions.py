"""From the words of questions to embedded questions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from langchain_core.embeddings import Embeddings

from commonscale.core.dense import unit_rows
from commonscale.core.encoder_methods import lacking
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality, Question, Vector
from commonscale.core.wording import check_wording
from commonscale.encoders.model_identity import model_name
from commonscale.langchain.embeddings import CommonscaleEmbeddings
from commonscale.langchain.image_questions import ImageQuestion, embed_pictures, words_of

_AT_ONCE = 16
"""Questions that are embedded concurrently by embeddings without a batch method: a polite number of requests."""


def as_embeddings(given: Any) -> Embeddings:
    """Accept LangChain embeddings, anything with their two methods, or an encoder of Commonscale.

    Raises:
        InvalidInputError: if it is none of these.
    """
    if isinstance(given, type):
        raise InvalidInputError(
            f"embeddings are needed, got the class {given.__name__} itself; make an instance: {given.__name__}(...)"
        )
    if isinstance(given, Embeddings) or (hasattr(given, "embed_query") and hasattr(given, "embed_documents")):
        embeddings: Embeddings = given
        return embeddings
    if not lacking(given):
        return CommonscaleEmbeddings(given)
    raise InvalidInputError(
        f"embeddings with embed_query and embed_documents, or an encoder, are needed, got {type(given).__name__}"
    )


def fingerprint_of(embeddings: Any) -> str | None:
    """Identify embeddings: by their fingerprint, else by class and model; None if they name none."""
    found = getattr(embeddings, "fingerprint", None)
    if isinstance(found, str):
        return found
    name = model_name(embeddings)
    return None if name is None else f"{type(embeddings).__name__}:{name}"


class QuestionEmbedder:
    """Embeds questions once with each different embedding object, whatever the number of modalities.

    Attributes:
        by_modality: the embeddings of each modality.
    """

    def __init__(self, by_modality: Mapping[Modality, Embeddings]) -> None:
        self.by_modality = dict(by_modality)
        self._distinct = list({id(e): e for e in by_modality.values()}.values())

    def embed(
        self, texts: Sequence[str], progress: Callable[[Sequence[str]], Any] = lambda items: items
    ) -> list[Question]:
        """Embed questions.

        Args:
            texts: their words; those that are an ``ImageQuestion`` are embedded as pictures.
            progress: wraps the questions of each embedding object while they are gone through one by one.

        Raises:
            InvalidInputError: if there is no list of questions, a question is not a string or has no text,
                embeddings do not give one vector for each, or read no pictures and there are some.
        """
        words, pictures = _divided(texts)
        shown = [self._embed_pictures(e, pictures) for e in self._distinct]
        return self._assemble(texts, [embed_questions(e, words, progress) for e in self._distinct], shown)

    async def aembed(self, texts: Sequence[str]) -> list[Question]:
        """As ``embed``, by the asynchronous methods and with the embedding objects concurrently."""
        words, pictures = _divided(texts)
        found = await asyncio.gather(*(aembed_questions(e, words) for e in self._distinct))
        # In a thread: files are read, and most models for pictures run here.
        shown = [await asyncio.to_thread(self._embed_pictures, e, pictures) if pictures else [] for e in self._distinct]
        return self._assemble(texts, found, shown)

    def _embed_pictures(self, embeddings: Embeddings, pictures: Sequence[str]) -> Sequence[Any]:
        modality = next(m for m, known in self.by_modality.items() if known is embeddings)
        return embed_pictures(embeddings, pictures, modality) if pictures else []

    def _assemble(
        self, texts: Sequence[str], found: Sequence[Sequence[Any]], shown: Sequence[Sequence[Any]]
    ) -> list[Question]:
        vectors = {}
        for embeddings, words, pictures in zip(self._distinct, found, shown, strict=True):
            given = _in_order(texts, words, pictures)
            if given is None:
                raise InvalidInputError(
                    f"{type(embeddings).__name__} gave {len(words) + len(pictures)} vectors for {len(texts)} questions"
                )
            vectors[id(embeddings)] = _unit(embeddings, given)
        kinds = [_kind(text) for text in texts]
        if len(self._distinct) == 1:
            rows = vectors[id(self._distinct[0])]
            return [Question(words_of(t), v, kind=kind) for t, v, kind in zip(texts, rows, kinds, strict=True)]
        return [
            Question(words_of(text), vectors={m: vectors[id(e)][i] for m, e in self.by_modality.items()}, kind=kinds[i])
            for i, text in enumerate(texts)
        ]


def _kind(text: str) -> Literal["text", "image"]:
    return "image" if isinstance(text, ImageQuestion) else "text"


def _divided(texts: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """Tell words from pictures, and check them.

    Raises:
        InvalidInputError: see ``QuestionEmbedder.embed``.
    """
    _check(texts)
    pictures = [text.picture for text in texts if isinstance(text, ImageQuestion)]
    return [text for text in texts if not isinstance(text, ImageQuestion)] if pictures else texts, pictures


def _in_order(texts: Sequence[str], words: Sequence[Any], pictures: Sequence[Any]) -> Any:
    """Put vectors of words and pictures into the order of the questions; None if their numbers differ."""
    if len(words) + len(pictures) != len(texts):
        return None
    if not len(pictures) or not len(words):
        return pictures if len(pictures) else words
    by_kind = {"text": iter(words), "image": iter(pictures)}
    ordered = [next(by_kind[_kind(text)], None) for text in texts]
    return None if any(vector is None for vector in ordered) else ordered


def check_list(texts: Sequence[str]) -> None:
    """Check that it is a list of questions.

    Raises:
        InvalidInputError: if it is a single one.
    """
    if isinstance(texts, str):
        raise InvalidInputError(f"a list of questions is needed, got one question: {texts!r}; put it into a list")


def _check(texts: Sequence[str]) -> None:
    check_list(texts)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidInputError(f"questions must be strings, got {texts!r}"[:300])
    for text in texts:
        if not text.strip():
            raise InvalidInputError(f"the question {text!r} has no text; ask something")
        check_wording(words_of(text))


def _unit(embeddings: Embeddings, given: Any) -> Sequence[Vector]:
    """Normalize: a source of the caller's own may take inner products for cosines."""
    if not len(given):
        return []
    # Arrays at once: on the path of every question, and looking at a list's shape costs as much as turning it into one.
    vectors = [np.asarray(vector) for vector in given]
    for vector in vectors:
        if vector.ndim != 1:
            raise InvalidInputError(
                f"{type(embeddings).__name__} gave an array of shape {vector.shape} for a question; one vector "
                f"(d,) is needed"
            )
    return list(unit_rows(given if isinstance(given, np.ndarray) else vectors, "question vector"))


def embed_questions(
    embeddings: Any, texts: Sequence[str], progress: Callable[[Sequence[str]], Any] = lambda items: items
) -> Sequence[Any]:
    """Embed questions by the embeddings' method for queries, in one call where they have one for many.

    Args:
        embeddings: LangChain embeddings.
        texts: the questions.
        progress: wraps the questions while they are gone through one by one.
    """
    many = getattr(embeddings, "embed_queries", None)
    if callable(many):
        found: Sequence[Any] = many(list(texts))
        return found
    # Not embed_documents: many models embed questions and passages differently.
    return [embeddings.embed_query(text) for text in progress(texts)]


async def aembed_questions(embeddings: Any, texts: Sequence[str]) -> Sequence[Any]:
    """As ``embed_questions``, by the embeddings' asynchronous methods."""
    many = getattr(embeddings, "aembed_queries", None)
    if callable(many):
        found: Sequence[Any] = await many(list(texts))
        return found
    if not hasattr(embeddings, "aembed_query"):
        return await asyncio.to_thread(embed_questions, embeddings, texts)
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(text: str) -> Any:
        async with limit:
            answer: Awaitable[Any] = embeddings.aembed_query(text)
            return await answer

    return await asyncio.gather(*(one(text) for text in texts))
