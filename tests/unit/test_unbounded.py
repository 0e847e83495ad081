import math
import re

import numpy as np
import pytest

from commonscale import Calibration, Candidates, JointSearch, Question
from commonscale.core.calibration import Provenance
from commonscale.core.errors import (
    CalibrationMismatchError,
    InvalidInputError,
    ScoreOutOfRangeError,
    SourceError,
    UnknownScoreKindError,
)
from commonscale.core.sources import check_candidates
from commonscale.core.treatments import TREATMENTS, Meaning, Scored, best_places
from sources import ArraySource, unit_rows

QUESTION = Question("four words are here")
RISING = r"rising scores \(\[.*less seems to be better.*score_kind=.*treatment='raw'"


class Scores:
    """A source of scores by question, as a retriever by words gives them."""

    unbounded = True
    by_text = True
    score_kind = "test:raw"

    def __init__(self, scores):
        self.scores = scores

    def search(self, questions, k):
        answers = []
        for question in questions:
            pairs = sorted(self.scores[question.text].items(), key=lambda pair: -pair[1])[:k]
            answers.append(Candidates([i for i, _ in pairs], np.array([s for _, s in pairs])))
        return answers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raw", [6.0, 0.0, -2.0]),
        ("log", [math.log(7), 0.0, -math.log(3)]),
        ("per_root_word", [3.0, 0.0, -1.0]),
        ("log_per_root_word", [math.log(4), 0.0, -math.log(2)]),
    ],
)
def test_treatments_are_these_functions(name, expected):
    np.testing.assert_allclose(TREATMENTS[name](np.array([6.0, 0.0, -2.0]), 4), expected)


def test_words_are_counted_by_the_retriever_or_in_the_question():
    meaning = Meaning("bm25", treatment="per_root_word")
    assert meaning.candidates(QUESTION, Scored(["a"], [6.0], [None]), 1).cosines.tolist() == [3.0]
    assert meaning.candidates(QUESTION, Scored(["a"], [6.0], [None], 9), 1).cosines.tolist() == [2.0]
    assert meaning.candidates(Question("?!"), Scored(["a"], [6.0], [None]), 1).cosines.tolist() == [6.0]
    assert meaning.candidates(Question("zwölf 東京 naïve?"), Scored(["a"], [3.0], [None]), 1).cosines == [
        pytest.approx(3**0.5)
    ]


def test_hits_are_the_best_k_each_document_once_with_its_payload():
    scored = Scored(["a", "b", "a", "c", "d"], [1.0, 3.0, 4.0, 3.0, 0.0], ["low", "b", "high", "c", "d"])
    found = Meaning("bm25").candidates(QUESTION, scored, 3)
    assert (list(found.ids), found.cosines.tolist(), found.payloads) == (["a", "b", "c"], [4, 3, 3], ["high", "b", "c"])
    nothing = Meaning("bm25").candidates(QUESTION, Scored([], [], []), 3)
    assert (len(nothing.ids), nothing.cosines.shape) == (0, (0,))


def test_places_of_the_best_keep_the_order_of_equal_scores():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, 200).astype(float)
    expected = sorted(range(200), key=lambda place: -scores[place])
    for k in (1, 7, 199, 200, 500):
        assert best_places(scores, k).tolist() == expected[:k]


def test_a_named_score_kind_gives_cosines():
    meaning = Meaning("vectors", score_kind="cosine_distance")
    assert (meaning.unbounded, meaning.name) == (False, "cosine_distance")
    found = meaning.candidates(QUESTION, Scored(["far", "near"], [0.9, 0.1], [1, 2]), 5)
    assert list(found.ids) == ["near", "far"]
    np.testing.assert_allclose(found.cosines, [0.9, 0.1])
    with pytest.raises(ScoreOutOfRangeError):
        Meaning("vectors", score_kind="cosine").candidates(QUESTION, Scored(["a"], [7.5], [1]), 5)


def test_calibrations_remember_what_computed_the_scores_and_their_treatment():
    def mine(scores, words):
        return scores / words

    names = [Meaning("BM25Okapi", treatment=t).name for t in (None, "log", mine, lambda scores, words: scores)]
    assert names == ["BM25Okapi:raw", "BM25Okapi:log", "BM25Okapi:mine", "BM25Okapi:<lambda>"]
    made_with = {"text": Provenance(score_kind="BM25Okapi:raw")}
    calibration = Calibration.from_labeled_pairs([3.0 + i % 5 for i in range(40)], ["text"] * 40, made_with)
    with pytest.raises(CalibrationMismatchError, match="'BM25Okapi:raw', not 'BM25Okapi:log'"):
        JointSearch({"text": Scores({})}, calibration, provenance={"text": Provenance(score_kind="BM25Okapi:log")})


@pytest.mark.parametrize(
    ("scored", "message"),
    [
        (Scored(["a", "b"], [1.0, None], [1, 2]), "'b' the score nan"),
        (Scored(["a"], [float("inf")], [1]), "'a' the score inf"),
        (Scored(["a"], ["much"], [1]), "must be numbers"),
        (Scored(["a"], [1.0, 2.0], [1]), "1 hits with scores of shape"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(scored, message):
    with pytest.raises(SourceError, match=message):
        Meaning("bm25").candidates(QUESTION, scored, 3)


def scored(scores):
    return Scored([f"d{i}" for i in range(len(scores))], scores, scores)


def first_refused(meaning, answers):
    """Which of the answers, to different questions, is refused as rising; None if none is."""
    for number, scores in enumerate(answers, 1):
        try:
            meaning.candidates(Question(f"q{number}"), scored(scores), 50)
        except SourceError as error:
            return number if re.search(RISING, str(error)) else str(error)
    return None


def test_distances_are_found_out_by_several_answers():
    rng = np.random.default_rng(0)
    assert first_refused(Meaning("vectors"), [np.sort(rng.random(10)) for _ in range(20)]) == 3
    assert first_refused(Meaning("vectors"), [np.sort(rng.random(3)) for _ in range(20)]) == 8
    meaning = Meaning("vectors")
    assert first_refused(meaning, [np.sort(rng.random(10)) for _ in range(3)]) == 3
    assert first_refused(meaning, [np.sort(rng.random(10))]) == 1  # and from then on
    for kind in ("cosine_distance", "squared_l2"):
        assert first_refused(Meaning("vectors", kind), [np.sort(rng.random(10)) for _ in range(20)]) is None


def test_hits_that_are_not_in_the_order_of_their_scores_are_taken():
    """Merged or rearranged hits: three of them have rising scores once in six answers."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        answers = [rng.permutation(rng.gamma(2.0, 6.0, 3)) for _ in range(500)]
        assert first_refused(Meaning("merged"), answers) is None
    found = Meaning("merged").candidates(QUESTION, scored([0.1, 0.2, 0.5]), 2)
    assert (list(found.ids), found.cosines.tolist()) == (["d2", "d1"], [0.5, 0.2])


def test_one_falling_answer_tells_that_scores_are_no_distances():
    rising = np.arange(10.0)
    meaning = Meaning("merged")
    assert first_refused(meaning, [rising, rising, [2.0, 1.0]] + [rising] * 20) is None


def test_a_retriever_that_gives_its_best_hit_last_can_be_used_by_saying_so():
    answers = [np.arange(10.0)] * 20
    assert first_refused(Meaning("reversed"), answers) == 3
    assert first_refused(Meaning("reversed", treatment="raw"), answers) is None
    assert Meaning("reversed", treatment="raw").name == Meaning("reversed").name


def test_what_says_nothing_of_the_sense_does_not_count():
    rising = np.arange(20.0)
    meaning = Meaning("merged")
    for _ in range(20):  # always the same question
        meaning.candidates(QUESTION, scored(rising), 3)
    assert first_refused(Meaning("merged"), [[0.1, 0.2], [1.0], [], [5.0, 5.0, 5.0], [1.0, 1.0, 2.0]] * 20) is None


def test_a_document_may_be_told_apart_later():
    hits = Scored(["a", "b", "a", "c"], [5.0, 1.0, 4.0, 3.0], ["first", "b", "second", "c"])
    found = Meaning("bm25", distinct=False).candidates(QUESTION, hits, 3)
    assert (list(found.ids), found.cosines.tolist(), found.payloads) == (
        ["a", "a", "c"],
        [5, 4, 3],
        ["first", "second", "c"],
    )


@pytest.mark.parametrize("treatment", [lambda s, _: -s, lambda s, _: s[:1], lambda s, _: 1.0, lambda s, _: s * np.nan])
def test_a_treatment_that_does_not_rise_is_refused(treatment):
    with pytest.raises(InvalidInputError, match="rise with them"):
        Meaning("bm25", treatment=treatment).candidates(QUESTION, Scored(["a", "b"], [2.0, 1.0], [1, 2]), 2)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(InvalidInputError, match="unknown treatment 'sqrt'; name one of raw, log"):
        Meaning("bm25", treatment="sqrt")
    with pytest.raises(InvalidInputError, match="unknown treatment 3"):
        Meaning("bm25", treatment=3)
    with pytest.raises(UnknownScoreKindError):
        Meaning("bm25", score_kind="bm25")
    with pytest.raises(InvalidInputError, match="either score_kind="):
        Meaning("bm25", score_kind="cosine", treatment="raw")


def test_only_an_unbounded_source_may_leave_the_range_of_cosines():
    found = [Candidates(["a", "b"], np.array([31.0, -4.0]))]
    assert check_candidates(found, 1, 2, "text", unbounded=True) is found
    assert check_candidates([Candidates(["a"], np.array([31.0]))], 1, 2, "text", unbounded=True)
    with pytest.raises(SourceError, match="a cosine of 31 in absolute value"):
        check_candidates(found, 1, 2, "text")
    for values, message in (([1.0, 2.0], "not sorted"), ([np.nan, 1.0], "nan"), ([np.inf, 1.0], "inf")):
        with pytest.raises(SourceError, match=message):
            check_candidates([Candidates(["a", "b"], np.array(values))], 1, 2, "text", unbounded=True)
    with pytest.raises(SourceError, match="twice"):
        check_candidates([Candidates(["a", "a"], np.array([2.0, 1.0]))], 1, 2, "text", unbounded=True)


def words_and_vectors():
    rng = np.random.default_rng(3)
    vectors = unit_rows(rng, 40, 8)
    questions = [Question(f"q{i}", vector) for i, vector in enumerate(vectors)]
    scores = {q.text: {f"t{j}": float(s) for j, s in enumerate(rng.gamma(2.0, 6.0, 12))} for q in questions}
    images = ArraySource([f"i{j}" for j in range(15)], unit_rows(rng, 15, 8), "image")
    return questions, scores, images


def test_scores_and_cosines_are_ranked_together_by_their_own_statistics():
    questions, scores, images = words_and_vectors()
    search = JointSearch({"text": Scores(scores), "image": images})
    search.calibrate(questions, method="standardized")
    best = [max(scores[q.text].values()) for q in questions]
    cosines = np.array([images.vectors @ q.vector for q in questions])
    tops = cosines.max(axis=1)
    for number, question in enumerate(questions):
        expected = [(i, (s - np.mean(best)) / np.std(best)) for i, s in scores[question.text].items()]
        expected += [(f"i{j}", (c - tops.mean()) / tops.std()) for j, c in enumerate(cosines[number])]
        expected.sort(key=lambda pair: -pair[1])
        ranking = search.search(question, 10)
        assert ranking.ids == [i for i, _ in expected[:10]]
        np.testing.assert_allclose([h.score for h in ranking], [s for _, s in expected[:10]], atol=1e-5)
        assert all(h.cosine == scores[question.text][h.id] for h in ranking.of("text"))


def test_raw_ranking_of_scores_beside_cosines_is_refused():
    questions, scores, images = words_and_vectors()
    with pytest.raises(InvalidInputError, match=r"'text' gives test:raw, 'image' gives cosines.*without raw"):
        JointSearch({"text": Scores(scores), "image": images}).search(questions[0], 5, raw=True)
    alone = JointSearch({"text": Scores(scores)}).search(questions[0], 5, raw=True)
    assert [h.score for h in alone] == sorted(scores["q0"].values(), reverse=True)[:5]
    twice = JointSearch({"text": Scores(scores), "caption": Scores({"q0": {"c": 1e6}})}).search(
        questions[0], 1, raw=True
    )
    assert twice.ids == ["c"]
    other = Scores(scores)
    other.score_kind = "test:log"
    with pytest.raises(InvalidInputError, match="test:raw, 'caption' gives test:log"):
        JointSearch({"text": Scores(scores), "caption": other}).search(questions[0], 1, raw=True)
