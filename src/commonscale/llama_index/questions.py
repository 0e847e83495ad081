"""LlamaIndex's query bundles: what is a question, and what tells it from others."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle, QueryType

from commonscale.core.errors import InvalidInputError
from commonscale.core.recorded import picture_mark, question_mark
from commonscale.llama_index.image_questions import with_text


def as_bundle(question: QueryType) -> QueryBundle:
    """Give the bundle of a question; a string becomes one, a bundle stays the caller's own object.

    Only a bundle whose picture is no string is copied, with one that stands for it (see ``with_text``).

    Raises:
        InvalidInputError: if it is neither.
    """
    if isinstance(question, str):
        return QueryBundle(question)
    if isinstance(question, QueryBundle):
        return with_text(question)
    raise InvalidInputError(f"a question is a string or a QueryBundle, got {question!r}")


def bundle_mark(bundle: QueryBundle) -> str:
    """Give what tells this question from others; see ``commonscale.core.recorded.question_mark``.

    Strings and vectors to embed in its place do not count where it has words: engines put them into a bundle of
    their own (HyDE). A bundle without words is told by them, one with a picture by its picture.
    """
    picture = with_text(bundle).image_path
    if picture is not None:
        return picture_mark(picture)
    words = bundle.query_str
    if not words.strip():
        words = repr((bundle.custom_embedding_strs, bundle.embedding))
    return question_mark(words)


def as_bundles(questions: Sequence[QueryType]) -> list[QueryBundle]:
    """Give every question as a bundle.

    Raises:
        InvalidInputError: if it is a single question, or one of them is none.
    """
    if isinstance(questions, (str, QueryBundle)):
        raise InvalidInputError(f"a list of questions is needed, got one question: {questions!r}; put it into a list")
    return [as_bundle(question) for question in questions]


def fingerprint_of(model: BaseEmbedding) -> str:
    """Identify an embedding model: its fingerprint, as ours have, else class and model name."""
    found = getattr(model, "fingerprint", None)
    return found if isinstance(found, str) else f"{type(model).__name__}:{model.model_name}"
