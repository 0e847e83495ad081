"""Scores that are no cosines: how BM25's, or another retriever's, are made comparable from question to question.

The score of a retriever may lie anywhere. Standardizing with its own mean and spread gives it a place on the common
scale, but only if the scores of different questions can be compared. BM25's cannot: it adds one term per word that
question and document share, so its best scores grow with the length of the question. A treatment takes that out. It
rises with the score, so it never changes the order of one question's hits. Which one is best was measured; see
``docs/retrievers.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from commonscale.core.cosines import Converter, to_cosine
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.sense import Sense
from commonscale.core.types import Candidates, Floats, Question

Treatment: TypeAlias = Callable[[Floats, int], Floats]
"""Turns the scores (n,) of one question, and the number of its words, into comparable scores (n,)."""


def _log(scores: Floats) -> Floats:
    # Odd, since some BM25 variants give small negative scores.
    return np.sign(scores) * np.log1p(np.abs(scores))


TREATMENTS: Mapping[str, Treatment] = MappingProxyType(
    {
        "raw": lambda scores, _: scores,
        "log": lambda scores, _: _log(scores),
        "per_root_word": lambda scores, words: scores / np.sqrt(words),
        "log_per_root_word": lambda scores, words: _log(scores / np.sqrt(words)),
    }
)
"""Treatments by name, as functions of the score s and the number w of the question's words: s; log(1 + s);
s / sqrt(w), since a sum of w terms of similar spread spreads like the root of w; and log(1 + s / sqrt(w))."""

BM25_TREATMENT = "log_per_root_word"
"""The treatment of BM25 scores, unless another is named: the best of those measured."""

_WORD = re.compile(r"\w+")


class Scored(NamedTuple):
    """What a retriever said of one question.

    Attributes:
        ids: document ids (n), in the retriever's order.
        scores: its scores (n,); more is better, unless a score kind says otherwise.
        payloads: what the framework needs of each hit (n).
        words: how many words the question has, as the retriever counts them; None if it does not say.
    """

    ids: Sequence[str]
    scores: npt.ArrayLike
    payloads: Sequence[Any]
    words: int | None = None


class Meaning:
    """What a retriever's scores mean: scores of a named kind become cosines, others are treated.

    Attributes:
        unbounded: whether what comes out may lie anywhere.
        name: what calibrations remember as score kind, such as ``"BM25Okapi:log_per_root_word"``.
    """

    def __init__(
        self,
        engine: str,
        score_kind: str | Converter | None = None,
        treatment: str | Treatment | None = None,
        *,
        distinct: bool = True,
    ) -> None:
        """Set up the meaning.

        Args:
            engine: what computes the scores; scores of different engines are not comparable.
            score_kind: what the scores are as functions of cosines (see ``SCORE_KINDS``).
            treatment: a name of ``TREATMENTS`` or a function (scores, number of words) -> scores; ``"raw"`` if neither
                is given. With neither, scores that seem to be distances are refused (see ``Sense``).
            distinct: whether a document that comes several times is given once, at its best score; if not, all its hits
                are (for ids that several documents share, and that are told apart later).

        Raises:
            InvalidInputError: if both are given, or no treatment has that name.
            UnknownScoreKindError: if no score kind has that name.
        """
        if score_kind is not None and treatment is not None:
            raise InvalidInputError(
                f"give either score_kind= (scores that become cosines) or treatment= (scores of another kind), "
                f"got {score_kind!r} and {treatment!r}"
            )
        self.unbounded = score_kind is None
        self._kind = score_kind
        self._distinct = distinct
        # Whoever names a treatment, even "raw", says that more is better, in whatever order the hits come.
        self._sense = Sense() if treatment is None else None
        self._treatment = _treatment("raw" if treatment is None else treatment)
        if score_kind is not None:
            to_cosine([], score_kind)
            self.name = _name(score_kind)
        else:
            self.name = f"{engine}:{_name('raw' if treatment is None else treatment)}"

    def candidates(self, question: Question, scored: Scored, k: int) -> Candidates:
        """Give the best hits, each document once (unless told otherwise), with what their scores mean.

        Raises:
            SourceError: if a score is missing or not finite, their numbers differ, or the hits of question after
                question come with rising scores, though no treatment is named (see ``Sense``): then less is better.
            InvalidInputError: if the treatment is no rising function.
        """
        numbers = _numbers(scored)
        if self._kind is not None:
            comparable = to_cosine(numbers, self._kind)
        else:
            if self._sense is not None:
                self._sense.watch(question.text, numbers)
            words = len(_WORD.findall(question.text)) if scored.words is None else scored.words
            comparable = np.asarray(self._treatment(numbers, max(words, 1)), dtype=np.float64)
            _check_rising(numbers, comparable)
        if self._distinct:
            places = first_of_each(scored.ids, best_places(comparable), k)
        else:
            places = best_places(comparable, k).tolist()
        return Candidates(
            [scored.ids[i] for i in places],
            comparable[np.asarray(places, dtype=np.intp)],
            [scored.payloads[i] for i in places],
        )


def best_places(scores: npt.NDArray[Any], k: int | None = None) -> npt.NDArray[np.intp]:
    """Give the places of the ``k`` highest scores, best first; equal ones in their order.

    Args:
        scores: shape (n,).
        k: how many; None for all.
    """
    if k is None or k >= len(scores):
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    contenders = np.flatnonzero(scores >= threshold)
    return contenders[np.argsort(-scores[contenders], kind="stable")[:k]]


def first_of_each(ids: Sequence[str], places: Iterable[int], k: int) -> list[int]:
    """Give the first ``k`` places whose ids have not come before."""
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(ids[int(place)], int(place))
        if len(first) == k:
            break
    return list(first.values())


def _numbers(scored: Scored) -> Floats:
    try:
        numbers = np.asarray(scored.scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SourceError(f"a retriever's scores must be numbers, got {scored.scores!r}"[:300]) from error
    if numbers.shape != (len(scored.ids),):
        raise SourceError(f"a retriever gave {len(scored.ids)} hits with scores of shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        bad = int(np.argmin(np.isfinite(numbers)))
        raise SourceError(
            f"a retriever gave the document {scored.ids[bad]!r} the score {float(numbers[bad])!r}; a finite number is "
            f"needed: say where scores are with score=, or leave such hits out"
        )
    return numbers


def _check_rising(numbers: Floats, treated: Floats) -> None:
    if treated.shape == numbers.shape and np.isfinite(treated).all():
        order = np.argsort(numbers, kind="stable")
        if (np.diff(treated[order]) >= 0).all():
            return
    raise InvalidInputError(
        f"a treatment must turn scores into as many finite numbers that rise with them; it turned "
        f"{numbers[:5].tolist()} into {treated.ravel()[:5].tolist()}"
    )


def _treatment(given: str | Treatment) -> Treatment:
    if callable(given):
        return given
    try:
        return TREATMENTS[given]
    except (KeyError, TypeError):
        raise InvalidInputError(
            f"unknown treatment {given!r}; name one of {', '.join(TREATMENTS)}, or pass a function of the scores (n,) "
            f"and the number of the question's words"
        ) from None


def _name(given: object) -> str:
    return given if isinstance(given, str) else getattr(given, "__name__", "custom")
