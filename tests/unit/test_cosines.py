from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import SCORE_KINDS, cosines_with, to_cosine
from commonscale.core.cosines import score_kind
from commonscale.core.errors import InvalidInputError, ScoreOutOfRangeError, UnknownScoreKindError

# Five unit documents with these cosines to the question; one more at cosine 0.3 has norm 10.
COSINES = np.array([0.9, 0.6, 0.3, -0.2, 1.0])
QUESTION = np.array([1.0, 0.0, 0.0])
UNIT = np.stack([COSINES, np.sqrt(1 - COSINES**2), np.zeros(5)], axis=1)
LONG = 10 * UNIT[2:3]


def inner(d: np.ndarray) -> np.ndarray:
    return d @ QUESTION


def cosine(d: np.ndarray) -> np.ndarray:
    return inner(d) / np.linalg.norm(d, axis=1)


def squared(d: np.ndarray) -> np.ndarray:
    return ((d - QUESTION) ** 2).sum(axis=1)


# What stores return, from the definition of each kind, computed from the vectors themselves.
RETURNED = {
    "cosine": cosine,
    "inner_product": inner,
    "negative_inner_product": lambda d: -inner(d),
    "cosine_distance": lambda d: 1 - cosine(d),
    "inner_product_distance": lambda d: 1 - inner(d),
    "squared_l2": squared,
    "l2": lambda d: np.sqrt(squared(d)),
    "exp_neg_cosine_distance": lambda d: np.exp(-(1 - cosine(d))),
    "exp_neg_inner_product_distance": lambda d: np.exp(-(1 - inner(d))),
    "exp_neg_squared_l2": lambda d: np.exp(-squared(d)),
    "half_one_plus_cosine": lambda d: (1 + cosine(d)) / 2,
    "half_one_plus_inner_product": lambda d: (1 + inner(d)) / 2,
    "inverse_one_plus_squared_l2": lambda d: 1 / (1 + squared(d)),
}


def test_every_kind_is_tested() -> None:
    assert set(RETURNED) == set(SCORE_KINDS)


@pytest.mark.parametrize("kind", SCORE_KINDS)
def test_unit_vectors_give_the_true_cosine(kind: str) -> None:
    np.testing.assert_allclose(to_cosine(RETURNED[kind](UNIT), kind), COSINES, atol=1e-12)


@pytest.mark.parametrize("kind", SCORE_KINDS)
def test_longer_vectors_give_the_true_cosine_or_an_error(kind: str) -> None:
    returned = RETURNED[kind](LONG)
    if SCORE_KINDS[kind].unit_norm:
        with pytest.raises(ScoreOutOfRangeError, match="needs unit-norm vectors: normalize before indexing"):
            to_cosine(returned, kind)
    else:
        np.testing.assert_allclose(to_cosine(returned, kind), [0.3], atol=1e-12)


@pytest.mark.parametrize("kind", SCORE_KINDS)
def test_direction_of_every_kind(kind: str) -> None:
    better, worse = RETURNED[kind](UNIT[:2])
    assert (better > worse) == SCORE_KINDS[kind].higher_is_better


@given(st.lists(st.floats(-1, 1), max_size=10))
def test_conversion_keeps_the_order_of_cosines(cosines: list[float]) -> None:
    for kind in SCORE_KINDS:
        c = np.array(cosines)
        vectors = np.stack([c, np.sqrt(1 - c**2), np.zeros(len(c))], axis=1) if cosines else np.empty((0, 3))
        np.testing.assert_allclose(to_cosine(RETURNED[kind](vectors), kind), c, atol=1e-6)


def test_rounding_beyond_one_is_clipped_and_more_is_refused() -> None:
    np.testing.assert_array_equal(to_cosine([1.0000001, -1.0005], "cosine"), [1.0, -1.0])
    with pytest.raises(ScoreOutOfRangeError, match=r"the score 1.5, read as 'cosine', would be a cosine of 1.5"):
        to_cosine([0.5, 1.5], "cosine")


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(score: float) -> None:
    for kind in SCORE_KINDS:
        if kind == "inverse_one_plus_squared_l2" and score == np.inf:
            continue  # 1 / inf is 0: a distance of -1, that is a cosine of 1.5
        with pytest.raises(ScoreOutOfRangeError):
            to_cosine([0.5, score], kind)
    with pytest.raises(ScoreOutOfRangeError):
        to_cosine([np.inf], "inverse_one_plus_squared_l2")


def test_scores_come_as_a_row() -> None:
    with pytest.raises(InvalidInputError, match=r"shape \(n,\), got shape \(\); put a single score into a list"):
        to_cosine(0.5, "cosine")


def test_a_negative_number_is_no_distance() -> None:
    for kind in ("l2", "squared_l2"):
        with pytest.raises(ScoreOutOfRangeError):
            to_cosine([-0.3], kind)


def test_a_distance_read_as_cosine_is_noticed_when_it_exceeds_one() -> None:
    with pytest.raises(ScoreOutOfRangeError, match="name the kind that the store really returns"):
        to_cosine(RETURNED["squared_l2"](UNIT), "cosine")


def test_underflowed_exponentials_are_refused() -> None:
    with pytest.raises(ScoreOutOfRangeError, match="cosine of -inf"):
        to_cosine([0.0], "exp_neg_squared_l2")


def test_a_function_of_the_users_own() -> None:
    np.testing.assert_allclose(to_cosine([20, 60], lambda percent: percent / 100), [0.2, 0.6])
    with pytest.raises(InvalidInputError, match="one cosine per score"):
        to_cosine([1.0, 2.0], lambda scores: scores[:1])


@pytest.mark.parametrize("name", ["relevance", "", None, ["cosine"]])
def test_unknown_kinds_list_all_known(name: object) -> None:
    with pytest.raises(UnknownScoreKindError, match=r"unknown score kind .*squared_l2 \(cosine = 1 - r / 2\)"):
        score_kind(name)  # type: ignore[arg-type]


def test_recomputed_cosines_ignore_norms() -> None:
    np.testing.assert_allclose(cosines_with(5 * QUESTION, np.vstack([UNIT, LONG])), [*COSINES, 0.3], atol=1e-12)
    assert cosines_with(QUESTION, np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("question", "documents", "message"),
    [
        (QUESTION, np.zeros((1, 3)), "document vector 0 is null"),
        (QUESTION, np.vstack([UNIT, [[np.nan, 0, 0]]]), "document vector 5 is null or not finite"),
        (0 * QUESTION, UNIT, "the question's vector is null"),
        (QUESTION[:2], UNIT, r"got shapes \(2,\) and \(5, 3\)"),
        (QUESTION, UNIT[0], r"got shapes \(3,\) and \(3,\)"),
    ],
)
def test_vectors_without_a_cosine(question: np.ndarray, documents: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        cosines_with(question, documents)
