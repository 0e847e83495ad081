"""Keys of strata: which of the questions' scales a question has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        questions: the questions (n).
        strata: one key for each of the first questions, None for none; or None for no keys at all.

    Raises:
        InvalidInputError: if there are more keys than questions.
    """
    keys = list(strata or ())
    if len(keys) > len(questions):
        raise InvalidInputError(f"{len(keys)} strata come with {len(questions)} questions; give one for each")
    return [*map(keyed_one, questions, keys), *questions[len(keys) :]]


def keyed_one(question: Question, key: str | None) -> Question:
    """Give a question with a key."""
    return keyed([question], key)[0]


def _key(question: Question, stratum: Stratum) -> str | None:
    key = stratum(question) if callable(stratum) else stratum
    if key is not None and not isinstance(key, str):
        raise InvalidInputError(f"the stratum of the question {question.text!r} must be text or None, got {key!r}")
    return key
