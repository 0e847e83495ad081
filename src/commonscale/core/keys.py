"""Keys of strata: which of the questions' scales a question has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Question

Stratum: TypeAlias = str | Callable[[Question], str | None] | None
"""A key for all questions; or a function that gives each its own, from its wording or from the context it is called in
(the tenant of a request); or None for none."""


def keyed(questions: Sequence[Question], stratum: Stratum) -> list[Question]:
    """Give questions with their keys; those that have one keep it.

    Args:
        questions: the questions; they stay as they are.
        stratum: see ``Stratum``.

    Raises:
        InvalidInputError: if a key is no text.
    """
    if stratum is None:
        return list(questions)
    return [q if q.stratum is not None else replace(q, stratum=_key(q, stratum)) for q in questions]


def with_strata(questions: Sequence[Question], strata: Sequence[str | None] | None) -> list[Question]:
    """Give banked questions with keys that come in a list of their own.

    Args:
        questions: the questions, those in words first.
        strata: one key for each question in words, None for none; those that are pictures then have none. Or one for
            each of all, pictures too. None instead of a list for no keys at all.

    Raises:
        InvalidInputError: if it is no list, there are not as many keys as questions, or a key is no text.
    """
    if strata is None:
        return list(questions)
    if isinstance(strata, (str, bytes)) or not isinstance(strata, Iterable):
        raise InvalidInputError(
            f"strata is a list of keys, one for each question, got {strata!r}; give stratum= to the retriever or the "
            f"search for one key for all, or for a function of the question"
        )
    keys = list(strata)
    words = sum(question.kind != "image" for question in questions)
    if len(keys) not in (words, len(questions)):
        pictures = len(questions) - words
        wanted = f"{words} questions in words and {pictures} pictures" if pictures else f"{words} questions"
        raise InvalidInputError(
            f"{len(keys)} strata come with {wanted}; give one key for each question in words, in their order, None for "
            f"none{', and after them one for each picture, or none for any' if pictures else ''}"
        )
    return [*map(keyed_one, questions, keys), *questions[len(keys) :]]


def keyed_one(question: Question, key: str | None) -> Question:
    """Give a question with a key."""
    return keyed([question], key)[0]


def _key(question: Question, stratum: Stratum) -> str | None:
    key = stratum(question) if callable(stratum) else stratum
    if key is not None and not isinstance(key, str):
        raise InvalidInputError(f"the stratum of the question {question.text!r} must be text or None, got {key!r}")
    return key
