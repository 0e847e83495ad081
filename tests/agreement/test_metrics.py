"""Our metrics against a second implementation: numpy, written from the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ir_measures")

from commonscale.core.errors import InvalidInputError
from commonscale.evaluation import METRICS, per_question

DOCUMENTS = [f"{modality}:{row}" for row in range(75) for modality in ("text", "image")]


def by_hand(ranking, relevant):
    """All metrics of one question."""
    found = np.array([document in relevant for document in ranking], dtype=float)
    values = {f"recall@{k}": found[:k].sum() / len(relevant) for k in (1, 5, 20, 100)}
    first = np.flatnonzero(found[:20])
    values["mrr@20"] = 1.0 / (first[0] + 1) if len(first) else 0.0
    gain = (found[:20] / np.log2(np.arange(2, 2 + len(found[:20])))).sum()
    ideal = (1.0 / np.log2(np.arange(2, 2 + min(20, len(relevant))))).sum()
    values["ndcg@20"] = gain / ideal
    return values


questions = st.lists(
    st.tuples(
        st.permutations(DOCUMENTS).flatmap(lambda order: st.integers(0, 130).map(lambda depth: order[:depth])),
        st.sets(st.sampled_from(DOCUMENTS), min_size=1, max_size=30),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(questions)
def test_metrics_agree_with_their_definitions(asked):
    values = per_question([ranking for ranking, _ in asked], [relevant for _, relevant in asked])
    assert list(values) == list(METRICS)
    for position, (ranking, relevant) in enumerate(asked):
        for metric, expected in by_hand(ranking, relevant).items():
            assert values[metric][position] == pytest.approx(expected, abs=1e-9), metric


def test_five_line_example_with_exact_numbers():
    rankings = [["a", "b", "c"], ["x", "b", "a"], ["x", "y", "z"], []]
    relevant = [{"a"}, {"a", "b", "q"}, {"a"}, {"b"}]
    values = per_question(rankings, relevant)
    np.testing.assert_allclose(values["recall@1"], [1, 0, 0, 0])
    np.testing.assert_allclose(values["recall@5"], [1, 2 / 3, 0, 0])
    np.testing.assert_allclose(values["mrr@20"], [1, 1 / 2, 0, 0])
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    np.testing.assert_allclose(values["ndcg@20"], [1, (1 / np.log2(3) + 1 / 2) / ideal, 0, 0])


def test_the_order_given_decides_not_the_names():
    """Equal scores would be sorted by document name; ranks leave no two equal."""
    for ranking in (["a", "b"], ["b", "a"]):
        values = per_question([ranking], [{"a"}])
        assert values["recall@1"][0] == float(ranking[0] == "a")
        assert values["mrr@20"][0] == 1 / (1 + ranking.index("a"))


def test_cutoffs_are_exact():
    ranking = [f"d{rank}" for rank in range(101)]
    for rank, metric in ((0, "recall@1"), (4, "recall@5"), (19, "recall@20"), (19, "mrr@20"), (99, "recall@100")):
        inside, outside = (per_question([ranking], [{f"d{place}"}])[metric][0] for place in (rank, rank + 1))
        assert inside > 0
        assert outside == 0


def test_thousands_of_questions_keep_their_order():
    rankings = [[f"d{q}"] if q % 3 else ["wrong"] for q in range(2000)]
    values = per_question(rankings, [{f"d{q}"} for q in range(2000)])
    np.testing.assert_array_equal(values["recall@1"], np.arange(2000) % 3 != 0)


@pytest.mark.parametrize(
    ("rankings", "relevant", "message"),
    [
        ([["a"]], [], "1 rankings come with relevant documents for 0 questions"),
        ([["a"]], [set()], "question 0 has no relevant document"),
        ([["a"], ["b", "c", "b"]], [{"a"}, {"b"}], "the ranking of question 1 names a document twice"),
    ],
)
def test_input_without_a_meaning_is_refused(rankings, relevant, message):
    with pytest.raises(InvalidInputError, match=message):
        per_question(rankings, relevant)


def test_no_questions_have_no_values():
    assert {metric: len(values) for metric, values in per_question([], []).items()} == dict.fromkeys(METRICS, 0)
