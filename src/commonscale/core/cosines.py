"""What a store's number means: named score kinds, and their way back to the true cosine.

Vector stores return cosines, inner products, distances or functions of distances, often under the same name
("score", "similarity"). Standardization needs true cosines: an affine map of a cosine would only shift the
statistics, but ``exp(-distance)`` bends them, and a distance turns the ranking upside down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError, ScoreOutOfRangeError, UnknownScoreKindError
from commonscale.core.types import Floats

Converter: TypeAlias = Callable[[Floats], Floats]

TOLERANCE = 1e-3
"""How far beyond [-1, 1] a converted score may lie: half precision and compressed indexes round this much."""


@dataclass(frozen=True, slots=True)
class ScoreKind:
    """One meaning that a store's score can have.

    Attributes:
        name: how to ask for it.
        formula: the cosine as a function of the score r.
        convert: that function, over float64 arrays.
        unit_norm: whether it holds only if stored vectors and question have norm 1.
        higher_is_better: whether a greater score is a closer document.
    """

    name: str
    formula: str
    convert: Converter
    unit_norm: bool
    higher_is_better: bool = True


def _log(scores: Floats) -> Floats:
    # exp(-distance) underflows to 0 for far documents: -inf here, reported by the range check.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(scores)


def _inverse(scores: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return 1.0 / scores


def _distance(scores: Floats) -> Floats:
    # The square would hide that a negative score is no distance; NaN fails the range check.
    return np.where(scores >= 0, scores, np.nan)


_KINDS = (
    ScoreKind("cosine", "r", lambda r: r, unit_norm=False),
    ScoreKind("inner_product", "r", lambda r: r, unit_norm=True),
    ScoreKind("negative_inner_product", "-r", lambda r: -r, unit_norm=True, higher_is_better=False),
    ScoreKind("cosine_distance", "1 - r", lambda r: 1.0 - r, unit_norm=False, higher_is_better=False),
    ScoreKind("inner_product_distance", "1 - r", lambda r: 1.0 - r, unit_norm=True, higher_is_better=False),
    ScoreKind("squared_l2", "1 - r / 2", lambda r: 1.0 - r / 2.0, unit_norm=True, higher_is_better=False),
    ScoreKind("l2", "1 - r^2 / 2", lambda r: 1.0 - _distance(r) ** 2 / 2.0, unit_norm=True, higher_is_better=False),
    ScoreKind("exp_neg_cosine_distance", "1 + ln r", lambda r: 1.0 + _log(r), unit_norm=False),
    ScoreKind("exp_neg_inner_product_distance", "1 + ln r", lambda r: 1.0 + _log(r), unit_norm=True),
    ScoreKind("exp_neg_squared_l2", "1 + ln(r) / 2", lambda r: 1.0 + _log(r) / 2.0, unit_norm=True),
    ScoreKind("half_one_plus_cosine", "2r - 1", lambda r: 2.0 * r - 1.0, unit_norm=False),
    ScoreKind("half_one_plus_inner_product", "2r - 1", lambda r: 2.0 * r - 1.0, unit_norm=True),
    ScoreKind(
        "inverse_one_plus_squared_l2",
        "1 - (1/r - 1) / 2",
        lambda r: 1.0 - (_inverse(r) - 1.0) / 2.0,
        unit_norm=True,
    ),
)

SCORE_KINDS = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Score kinds by name. Scores that are normalized per query (hybrid search, RRF, MMR, min-max) are not among
them: no function leads back from them to a cosine. Fetch the vectors and use ``cosines_with`` instead."""


def score_kind(name: str) -> ScoreKind:
    """Look up a score kind.

    Args:
        name: a key of ``SCORE_KINDS``.

    Raises:
        UnknownScoreKindError: if there is none of that name; the message lists all.
    """
    try:
        return SCORE_KINDS[name]
    except (KeyError, TypeError):
        kinds = ", ".join(f"{kind.name} (cosine = {kind.formula})" for kind in _KINDS)
        raise UnknownScoreKindError(
            f"unknown score kind {name!r}; name one of: {kinds}; or pass a function from scores to cosines"
        ) from None


def to_cosine(scores: npt.ArrayLike, kind: str | Converter) -> Floats:
    """Convert a store's scores to true cosines.

    Args:
        scores: shape (n,), as the store returned them, in any order.
        kind: the name of a score kind (see ``SCORE_KINDS``), or a function of your own from a float64 array
            of scores to one of cosines.

    Returns:
        Cosines (n,) in [-1, 1], in the order given; rounding up to 0.001 beyond is clipped.

    Raises:
        UnknownScoreKindError: if no kind has that name.
        ScoreOutOfRangeError: if a score gives no cosine: the kind is wrong, or vectors are not of unit norm.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise InvalidInputError(
            f"scores must have shape (n,), got shape {values.shape}; put a single score into a list"
        )
    if callable(kind):
        name, cosines, unit_norm = (
            getattr(kind, "__name__", "custom"),
            np.asarray(kind(values), np.float64),
            False,
        )
        if cosines.shape != values.shape:
            raise InvalidInputError(
                f"the score function {name!r} turned {values.shape} scores into {cosines.shape} cosines; "
                f"it must return one cosine per score"
            )
    else:
        known = score_kind(kind)
        name, cosines, unit_norm = known.name, known.convert(values), known.unit_norm
    # NaN fails every comparison, so it is caught by asking for what is good.
    good = np.abs(cosines) <= 1.0 + TOLERANCE
    if not good.all():
        first = int(np.argmin(good))
        raise ScoreOutOfRangeError(
            f"the score {float(values[first])!r}, read as {name!r}, would be a cosine of {float(cosines[first]):.6g}; "
            + ("this kind needs unit-norm vectors: normalize before indexing, or " if unit_norm else "")
            + f"name the kind that the store really returns: {', '.join(SCORE_KINDS)}"
        )
    return np.clip(cosines, -1.0, 1.0)


def cosines_with(question: npt.ArrayLike, documents: npt.ArrayLike) -> Floats:
    """Compute true cosines from vectors of any norm.

    Args:
        question: shape (d,).
        documents: shape (n, d).

    Returns:
        Cosines (n,), float64.

    Raises:
        InvalidInputError: if shapes do not fit, or a vector is null or not finite.
    """
    q = np.asarray(question, dtype=np.float64)
    d = np.asarray(documents, dtype=np.float64)
    if q.ndim != 1 or d.ndim != 2 or d.shape[1] != q.shape[0]:
        raise InvalidInputError(f"a question (d,) and documents (n, d) are needed, got shapes {q.shape} and {d.shape}")
    norms = np.linalg.norm(d, axis=1)
    q_norm = float(np.linalg.norm(q))
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.all() or not (np.isfinite(q_norm) and q_norm > 0):
        where = "the question's vector" if usable.all() else f"document vector {int(np.argmin(usable))}"
        raise InvalidInputError(f"{where} is null or not finite, so it has no cosine; embed it again")
    cosines: Floats = np.clip(d @ q / (norms * q_norm), -1.0, 1.0)
    return cosines
