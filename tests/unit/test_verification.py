"""The self-check's diagnosis, on stores whose every number and vector is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonscale import SCORE_KINDS, Question
from commonscale.core.errors import SourceError
from commonscale.core.types import Probe
from commonscale.core.verification import StoreCheck, Verification, check_source
from sources import unit_rows

D = 16

# What stores return, by the definition of each kind, from cosine, inner product and squared distance.
NUMBERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "cosine": lambda c, i, s: c,
    "inner_product": lambda c, i, s: i,
    "negative_inner_product": lambda c, i, s: -i,
    "cosine_distance": lambda c, i, s: 1 - c,
    "inner_product_distance": lambda c, i, s: 1 - i,
    "squared_l2": lambda c, i, s: s,
    "l2": lambda c, i, s: np.sqrt(s),
    "exp_neg_cosine_distance": lambda c, i, s: np.exp(c - 1),
    "exp_neg_inner_product_distance": lambda c, i, s: np.exp(i - 1),
    "exp_neg_squared_l2": lambda c, i, s: np.exp(-s),
    "half_one_plus_cosine": lambda c, i, s: (1 + c) / 2,
    "half_one_plus_inner_product": lambda c, i, s: (1 + i) / 2,
    "inverse_one_plus_squared_l2": lambda c, i, s: 1 / (1 + s),
}

ORDERED_BY = {"cosine": lambda c, i, s: c, "inner": lambda c, i, s: i, "distance": lambda c, i, s: -s}


def order_of(kind: str) -> str:
    if not SCORE_KINDS[kind].unit_norm:
        return "cosine"
    return "distance" if "l2" in kind else "inner"


class Store:
    """A fake store: exact unless told otherwise; its number is any function of cosine, product and distance."""

    def __init__(
        self,
        vectors: Any,
        number: Callable[[Any, Any, Any], Any],
        kind: Any,
        *,
        order: str = "cosine",
        per_answer: Callable[[Any], Any] = lambda numbers: numbers,
        give_vectors: bool = True,
        converted: bool = True,
        seen: Callable[[int], Sequence[int]] | None = None,
    ) -> None:
        self.vectors = np.asarray(vectors, np.float32)
        self.number, self.kind, self.order, self.per_answer = number, kind, order, per_answer
        self.give_vectors, self.converted, self.seen = give_vectors, converted, seen
        self.asked = 0

    def search(self, questions: Sequence[Question], k: int) -> Any:
        raise AssertionError("a self-check only probes")

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        return [self._one(question.vector_for("text").astype(np.float64), k) for question in questions]

    def _one(self, q: Any, k: int) -> Probe:
        v = self.vectors.astype(np.float64)
        inner, squared = v @ q, ((v - q) ** 2).sum(axis=1)
        with np.errstate(invalid="ignore"):
            cosine = inner / np.linalg.norm(v, axis=1)
        rank = np.nan_to_num(ORDERED_BY[self.order](cosine, inner, squared))
        rows = np.argsort(-rank, kind="stable")
        if self.seen is not None:
            rows = np.array([row for row in rows if row in set(self.seen(self.asked))], dtype=int)
        self.asked += 1
        rows = rows[:k]
        numbers = self.per_answer(self.number(cosine[rows], inner[rows], squared[rows]))
        given_vectors = self.vectors[rows] if self.give_vectors else None
        return Probe([f"d{row}" for row in rows], numbers, given_vectors, self.kind, self.converted)


def unit(seed: int = 0, count: int = 60) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed), count, D)


def stretched(seed: int = 0, count: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit_rows(rng, count, D) * rng.uniform(0.3, 3.0, (count, 1)).astype(np.float32)


def check(store: Any) -> StoreCheck:
    return check_source(store, "text", D)


def names(found: StoreCheck) -> set[str]:
    return {finding.name for finding in found.findings}


def test_every_kind_is_tested() -> None:
    assert set(NUMBERS) == set(SCORE_KINDS)


@settings(max_examples=150, deadline=None)
@given(
    true=st.sampled_from(sorted(SCORE_KINDS)),
    claimed=st.sampled_from(sorted(SCORE_KINDS)),
    count=st.integers(2, 80),
    seed=st.integers(0, 10_000),
)
def test_on_unit_vectors_a_kind_read_as_another_is_named_unless_both_are_the_same_formula(
    true: str, claimed: str, count: int, seed: int
) -> None:
    found = check(Store(unit(seed, count), NUMBERS[true], claimed, order=order_of(true)))
    if SCORE_KINDS[true].formula == SCORE_KINDS[claimed].formula:
        assert found.ok
        assert found.findings == ()
        assert found.largest_difference == pytest.approx(0, abs=1e-5)
        assert found.norms == pytest.approx((1, 1))
        return
    (error,) = found.errors
    assert error.name in {"inverted", "squared", "other kind"}
    named = error.words.split("score_kind='")[1].split("'")[0]
    assert SCORE_KINDS[named].formula == SCORE_KINDS[true].formula
    assert (error.name == "squared") == ({true, claimed} == {"l2", "squared_l2"})
    if SCORE_KINDS[true].higher_is_better != SCORE_KINDS[claimed].higher_is_better:
        assert error.name == "inverted"


@settings(max_examples=150, deadline=None)
@given(
    true=st.sampled_from(sorted(SCORE_KINDS)),
    claimed=st.sampled_from(sorted(SCORE_KINDS)),
    seed=st.integers(0, 10_000),
)
def test_on_longer_vectors_a_kind_is_never_read_wrongly_in_silence(true: str, claimed: str, seed: int) -> None:
    found = check(Store(stretched(seed), NUMBERS[true], claimed, order=order_of(true)))
    same = SCORE_KINDS[true].formula == SCORE_KINDS[claimed].formula
    if not SCORE_KINDS[true].unit_norm:
        # True cosines of vectors of any norm: which of the kinds of the same formula is named makes no difference.
        assert found.ok == same
        if same:
            assert names(found) == {"norms"}
        else:
            assert f"score_kind={true!r}" in str(found)
    else:
        assert "unnormalized" in {error.name for error in found.errors}
        assert ("pass score_kind=" in str(found)) == (not same)


@settings(max_examples=60, deadline=None)
@given(true=st.sampled_from(sorted(SCORE_KINDS)), seed=st.integers(0, 10_000))
def test_where_cosines_come_from_the_vectors_only_the_order_matters(true: str, seed: int) -> None:
    found = check(Store(stretched(seed), NUMBERS[true], true, order=order_of(true), converted=False))
    assert found.ok == (not SCORE_KINDS[true].unit_norm)
    assert found.largest_difference == 0
    if not found.ok:
        assert "does not find the documents of highest cosine" in str(found)
    alike = check(Store(7 * unit(seed), NUMBERS[true], true, order=order_of(true), converted=False))
    assert alike.ok
    assert alike.recall == 1


def test_the_report_says_all_in_numbers() -> None:
    found = check(Store(unit(), NUMBERS["squared_l2"], "cosine"))
    assert str(found).splitlines()[0].startswith("text: WRONG (640 pairs from 32 questions; numbers read as 'cosine'")
    assert "consistency recall 1.000" in str(found)
    assert "'squared_l2' (cosine = 1 - r / 2), not 'cosine'; pass score_kind='squared_l2'" in str(found)
    good = check(Store(unit(), NUMBERS["cosine"], "cosine"))
    assert str(good).startswith("text: as it should be (640 pairs")
    both = Verification((good, found))
    assert not both.ok
    assert list(both) == ["text", "text"]
    assert len(both) == 2
    assert str(both) == f"{good}\n{found}"
    with pytest.raises(KeyError):
        both["image"]


def min_max(numbers: Any) -> Any:
    spread = np.ptp(numbers)
    return (numbers - numbers.min()) / spread if spread else np.ones_like(numbers)


@pytest.mark.parametrize(
    ("normalize", "one"),
    [
        pytest.param(min_max, True, id="min-max"),
        pytest.param(lambda n: (n - n.mean()) / n.std(), False, id="z-score per query"),
        pytest.param(lambda n: 1.0 / (61 + np.arange(len(n))), False, id="reciprocal ranks"),
        pytest.param(lambda n: np.exp(n) / np.exp(n).sum(), False, id="softmax"),
    ],
)
def test_numbers_normalized_per_query_are_told(normalize: Any, one: bool) -> None:
    found = check(Store(unit(), NUMBERS["cosine"], "cosine", per_answer=normalize))
    assert {e.name for e in found.errors} == {"per query"}
    assert ("gets 1.0" in str(found)) == one
    # Where the numbers are not used, they do no harm.
    assert check(Store(unit(), NUMBERS["cosine"], None, per_answer=normalize, converted=False)).ok


def test_a_single_document_that_always_gets_one_is_normalized_per_query() -> None:
    found = check(Store(unit(count=1), NUMBERS["cosine"], "cosine", per_answer=min_max))
    assert {e.name for e in found.errors} == {"per query"}


def test_a_straight_line_is_named_with_the_function_to_pass() -> None:
    # LangChain's relevance of a squared distance: 1 - d / sqrt(2).
    found = check(Store(unit(), lambda c, i, s: 1 - s / np.sqrt(2), "cosine"))
    (error,) = found.errors
    assert error.name == "other function"
    function = eval(error.words.split("score_kind=")[1])
    assert check(Store(unit(), lambda c, i, s: 1 - s / np.sqrt(2), function)).ok


def test_an_unknown_falling_function_is_inverted_and_an_unknown_rising_one_another_function() -> None:
    falling = check(Store(unit(), lambda c, i, s: np.arccos(np.clip(c, -1, 1)), "cosine"))
    assert {e.name for e in falling.errors} == {"inverted"}
    rising = check(Store(unit(), lambda c, i, s: np.pi - np.arccos(np.clip(c, -1, 1)), "cosine"))
    assert {e.name for e in rising.errors} == {"other function"}
    assert "pass its inverse" in str(rising)


def test_a_relevance_score_of_two_branches_is_inverted() -> None:
    # LangChain's relevance of an inner product: 1 - p above 0, -p below.
    found = check(Store(unit(count=12), lambda c, i, s: np.where(i > 0, 1 - i, -i), "cosine"))
    assert "inverted" in {e.name for e in found.errors}


def test_numbers_that_have_nothing_to_do_with_the_cosine() -> None:
    rng = np.random.default_rng(3)
    found = check(Store(unit(), lambda c, i, s: rng.uniform(-1, 1, np.shape(c)), "cosine"))
    assert {e.name for e in found.errors} <= {"unrelated", "inverted"}
    assert not found.ok


@pytest.mark.parametrize("noise", [0.003, 0.01])
@pytest.mark.parametrize("kind", ["cosine", "squared_l2"])
def test_small_scatter_is_compression_and_a_note(kind: str, noise: float) -> None:
    rng = np.random.default_rng(4)

    def scattered(c: Any, i: Any, s: Any) -> Any:
        noisy = c + noise * rng.standard_normal(np.shape(c))
        return NUMBERS[kind](noisy, noisy, 2 - 2 * noisy)

    found = check(Store(unit(), scattered, kind))
    assert found.ok
    assert "compressed" in names(found)
    assert found.largest_difference is not None
    assert noise < found.largest_difference < 6 * noise
    wrong = check(Store(unit(), scattered, "half_one_plus_cosine"))
    assert not wrong.ok
    assert "pass score_kind=" in str(wrong)


def test_half_precision_is_not_worth_a_word() -> None:
    vectors = unit().astype(np.float16).astype(np.float32)
    assert check(Store(vectors, NUMBERS["inner_product"], "inner_product", order="inner")).findings == ()


def test_norms_far_from_one_do_no_harm_where_the_store_compares_by_cosine() -> None:
    found = check(Store(stretched(), NUMBERS["cosine"], "cosine"))
    assert found.ok
    assert names(found) == {"norms"}
    assert found.norms is not None
    assert found.norms[0] < 0.5
    assert found.norms[1] > 2.5


def test_an_approximate_search_is_a_note_with_its_recall() -> None:
    half = {0: range(0, 60, 2), 1: range(1, 60, 2)}
    found = check(Store(unit(), NUMBERS["cosine"], "cosine", seen=lambda asked: half[asked % 2]))
    assert found.ok
    assert names(found) == {"approximate"}
    assert found.recall is not None
    assert 0.3 < found.recall < 0.8
    assert "stored vectors did not find themselves" in str(found)


def test_vectors_that_are_rounded_differently_each_time_are_the_same_vectors() -> None:
    rng = np.random.default_rng(6)

    class Rounding(Store):
        def _one(self, q: Any, k: int) -> Probe:
            probe = super()._one(q, k)
            assert probe.vectors is not None
            rounded = probe.vectors * (1 + 1e-7 * rng.standard_normal(probe.vectors.shape))
            return Probe(probe.ids, probe.numbers, rounded.astype(np.float32), probe.kind)

    found = check(Rounding(unit(), NUMBERS["cosine"], "cosine"))
    assert found.recall == 1
    assert found.findings == ()


def test_fewer_hits_than_there_are_documents_is_approximate() -> None:
    found = check(Store(unit(), NUMBERS["cosine"], "cosine", seen=lambda asked: range(asked, asked + 5)))
    assert found.ok
    assert names(found) == {"approximate"}


def test_hits_that_are_not_in_order_are_an_error() -> None:
    rng = np.random.default_rng(5)

    class Shuffled(Store):
        def _one(self, q: Any, k: int) -> Probe:
            probe = super()._one(q, k)
            order = rng.permutation(len(probe.ids))
            assert probe.vectors is not None
            return Probe([probe.ids[i] for i in order], probe.numbers[order], probe.vectors[order], probe.kind)

    found = check(Shuffled(unit(), NUMBERS["cosine"], "cosine"))
    assert {e.name for e in found.errors} == {"reordered"}
    assert "MMR" in str(found)


def test_a_null_vector_is_noted_by_name() -> None:
    vectors = unit()
    vectors[7] = 0
    found = check(Store(vectors[:20], lambda c, i, s: np.nan_to_num(c), "cosine"))
    assert found.ok
    assert "null vector" in names(found)
    assert "'d7'" in str(found)


def test_vectors_of_another_dimension_are_an_error() -> None:
    class Longer(Store):
        def _one(self, q: Any, k: int) -> Probe:
            probe = super()._one(q, k)
            return Probe(probe.ids, probe.numbers, np.ones((len(probe.ids), D + 3), np.float32), probe.kind)

    found = check(Longer(unit(), NUMBERS["cosine"], "cosine"))
    assert {e.name for e in found.errors} == {"dimension"}
    assert f"dimension {D + 3}, questions {D}" in str(found)


@pytest.mark.parametrize(
    ("kind", "claimed", "name"),
    [
        ("squared_l2", "cosine", "inverted"),
        ("l2", "cosine", "inverted"),
        ("cosine", "cosine_distance", "inverted"),
        ("exp_neg_squared_l2", "squared_l2", "inverted"),
        ("negative_inner_product", "cosine_distance", "out of range"),
    ],
)
def test_without_vectors_range_and_order_are_still_checked(kind: str, claimed: str, name: str) -> None:
    found = check(Store(unit(), NUMBERS[kind], claimed, give_vectors=False))
    assert {e.name for e in found.errors} == {name}
    assert found.pairs == 0
    assert "not all checked" not in str(found)


def test_without_vectors_a_top_of_one_for_random_questions_is_normalized_per_query() -> None:
    found = check(Store(unit(), NUMBERS["cosine"], "cosine", per_answer=min_max, give_vectors=False))
    assert {e.name for e in found.errors} == {"per query"}


def test_without_vectors_good_numbers_are_not_called_good() -> None:
    found = check(Store(unit(), NUMBERS["cosine"], "cosine", give_vectors=False))
    assert found.ok
    assert found.unchecked is not None
    assert str(found).startswith("text: not checked")
    assert "does not give its vectors" in str(found)


def test_what_cannot_be_checked_says_why() -> None:
    class Plain:
        def search(self, questions: Sequence[Question], k: int) -> Any:
            raise AssertionError

    assert "no method probe" in str(check(Plain()))
    unbounded = Plain()
    unbounded.unbounded = True  # type: ignore[attr-defined]
    assert "not meant to be cosines" in str(check(unbounded))
    assert "dimension" in str(check_source(Store(unit(), NUMBERS["cosine"], "cosine"), "text", None))
    empty = check(Store(np.empty((0, D)), NUMBERS["cosine"], "cosine"))
    assert empty.ok
    assert "found no document" in str(empty)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda questions: [], "answered 0 of 8 questions"),
        (lambda questions: [Probe(["a"], np.zeros(2), None)] * len(questions), "numbers of shape"),
        (lambda questions: [Probe(["a"], np.zeros(1), np.zeros((3, D)))] * len(questions), "3 vectors"),
    ],
)
def test_a_probe_that_breaks_its_contract_is_refused(answer: Any, words: str) -> None:
    class Broken:
        def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
            return answer(questions)

    with pytest.raises(SourceError, match=words):
        check(Broken())
