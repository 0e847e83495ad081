"""The question embeddings that some priors take: the search's own, or those of an encoder of the prior's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from commonscale.core.dense import unit_rows
from commonscale.core.encoder_methods import lacking
from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.core.types import Floats, Question
from commonscale.priors.words import word_vectors

if TYPE_CHECKING:
    from commonscale.encoders.base import Encoder


def vectors_of(questions: Sequence[Question], encoder: Encoder | None) -> Floats:
    """Give one unit vector per question.

    Args:
        questions: at least one.
        encoder: embeds their texts; without it their own vectors are taken, which cost nothing.

    Returns:
        Shape (n, d), float64, unit rows.

    Raises:
        InvalidInputError: if a question has no text for the encoder, no vector, or one of another length.
    """
    if encoder is not None:
        if empty := [place for place, question in enumerate(questions) if not question.text.strip()]:
            raise InvalidInputError(
                f"{len(empty)} of {len(questions)} questions have no text, the first is number {empty[0]}; a prior "
                f"with an encoder of its own embeds texts: give Question(text=...)"
            )
        return encoder.encode_questions([question.text for question in questions]).astype(np.float64)
    rows = []
    for question in questions:
        if question.vector is None:
            raise InvalidInputError(
                f"question {question.text!r} has no vector of its own, which this prior takes; "
                f"give Question(vector=...), or an encoder to the prior"
            )
        rows.append(np.asarray(question.vector))
    if len({row.shape for row in rows}) > 1:
        raise InvalidInputError(f"the questions' vectors differ in shape: {sorted({row.shape for row in rows})}")
    return unit_rows(np.stack(rows)).astype(np.float64)


def features_of(questions: Sequence[Question], encoder: Encoder | None, *, words: bool) -> Floats:
    """Give what a regression sees of each question: its embedding, and its words if asked for.

    Args:
        questions: at least one.
        encoder: as for ``vectors_of``.
        words: whether the words go in too, with the same weight as the embedding.

    Returns:
        Shape (n, d), or (n, d + PLACES) with words; the rows have norm 1, less where a question has no words.
    """
    vectors = vectors_of(questions, encoder)
    if not words:
        return vectors
    return np.asarray(np.hstack([vectors, word_vectors([question.text for question in questions])]) / np.sqrt(2.0))


def all_worded(questions: Sequence[Question]) -> bool:
    """Say whether every question has a wording, not only a vector."""
    return all(question.text.strip() for question in questions)


def fingerprint_of(encoder: Encoder | None, told: str | None) -> str | None:
    """Give the fingerprint of the embeddings: the encoder's, else what the caller says.

    Raises:
        InvalidInputError: if it is no encoder, or the two differ.
    """
    if encoder is None:
        return told
    if missing := lacking(encoder, ("encode_questions", "fingerprint")):
        raise InvalidInputError(f"{type(encoder).__name__} is no encoder: it lacks {', '.join(missing)}")
    if told is not None and told != encoder.fingerprint:
        raise InvalidInputError(f"fingerprint is {told!r}, but that of the encoder is {encoder.fingerprint!r}")
    return encoder.fingerprint


def check_fingerprint(known: str | None, given: str | None) -> None:
    """Refuse embeddings of another encoder than the prior was made with; where one is not known, nothing is said.

    Raises:
        EncoderMismatchError: if both are known and differ.
    """
    if known is not None and given is not None and known != given:
        raise EncoderMismatchError(
            f"this prior takes the question embeddings of encoder {known!r}, not of {given!r}; "
            f"give the encoder that it was made with, or make it again"
        )
