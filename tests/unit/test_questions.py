from __future__ import annotations

import warnings

import numpy as np
import pytest

from commonscale import ModalityStatistics, Question, QuestionBank
from commonscale.core.errors import (
    DegenerateStatisticsWarning,
    FewQuestionsWarning,
    InvalidInputError,
    SourceError,
)
from sources import ArraySource, unit_rows

RNG = np.random.default_rng(0)
TEXTS, IMAGES, ASKED = unit_rows(RNG, 50, 8), unit_rows(RNG, 20, 8), unit_rows(RNG, 40, 8)


def make_sources() -> dict[str, ArraySource]:
    return {
        "text": ArraySource([f"t{i}" for i in range(50)], TEXTS),
        "image": ArraySource([f"i{i}" for i in range(20)], IMAGES, "image"),
    }


def questions(vectors: np.ndarray) -> list[Question]:
    return [Question(vector=vector) for vector in vectors]


def test_bank_holds_each_questions_best_hit_and_their_statistics() -> None:
    bank = QuestionBank.fit(questions(ASKED), make_sources())
    expected = ASKED @ IMAGES.T
    assert len(bank) == 40
    assert bank.best["image"].ids == tuple(f"i{i}" for i in expected.argmax(axis=1))
    np.testing.assert_allclose(bank.best["image"].cosines, expected.max(axis=1), atol=1e-6)
    statistics = bank.statistics()
    assert list(statistics) == ["text", "image"]
    assert statistics["image"] == ModalityStatistics.fit(bank.best["image"].cosines)


def test_one_batch_per_modality() -> None:
    sources = make_sources()
    QuestionBank.fit(questions(ASKED), sources)
    assert [source.calls for source in sources.values()] == [[(40, 1)], [(40, 1)]]


def test_no_questions_or_no_sources() -> None:
    with pytest.raises(InvalidInputError, match="needs unlabeled questions, got none"):
        QuestionBank.fit([], make_sources())
    with pytest.raises(InvalidInputError, match="at least one source"):
        QuestionBank.fit(questions(ASKED), {})


def test_thirty_questions_are_enough_to_stay_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        QuestionBank.fit(questions(ASKED[:30]), make_sources()).statistics()


def test_few_questions_warn_with_the_standard_error() -> None:
    bank = QuestionBank.fit(questions(ASKED[:29]), make_sources())
    with pytest.warns(FewQuestionsWarning) as caught:
        statistics = bank.statistics()
    first = str(caught[0].message)
    assert "29 different questions" in first
    assert f"standard error {statistics['text'].standard_error:.4f}" in first
    assert len(caught) == 2  # one for each modality


def test_repeated_questions_count_often_but_are_not_many_questions() -> None:
    bank = QuestionBank.fit(questions(np.repeat(ASKED[:10], [31] + [1] * 9, axis=0)), make_sources())
    with pytest.warns(FewQuestionsWarning, match="10 different questions"):
        statistics = bank.statistics()
    best = (ASKED[:10] @ TEXTS.T).max(axis=1)
    assert statistics["text"].count == 40
    assert statistics["text"].mean == pytest.approx((31 * best[0] + best[1:].sum()) / 40, abs=1e-6)


def test_one_question_warns_twice_and_has_no_spread() -> None:
    bank = QuestionBank.fit(questions(ASKED[:1]), {"text": make_sources()["text"]})
    few = pytest.warns(FewQuestionsWarning, match=r"rest on 1 different question \(.*its error cannot be told from one")
    with pytest.warns(DegenerateStatisticsWarning, match="do not vary"), few:
        statistics = bank.statistics()
    assert statistics["text"].std == 0


def test_an_empty_modality_is_left_out_with_a_warning() -> None:
    sources = {**make_sources(), "image": ArraySource([], np.empty((0, 8)), "image")}
    bank = QuestionBank.fit(questions(ASKED), sources)
    assert bank.best["image"].ids == (None,) * 40
    with pytest.warns(DegenerateStatisticsWarning, match=r"'image' returned no document for any of 40 questions"):
        assert list(bank.statistics()) == ["text"]


def test_a_null_vector_in_a_store_is_an_error_that_names_the_document() -> None:
    with pytest.raises(SourceError, match=r"'text' returned the cosine nan for document 't0'; its vector.* is null"):
        QuestionBank.fit(questions(ASKED), {"text": ArraySource(["t0"], np.full((1, 8), np.nan))})


def test_a_question_without_a_vector_for_a_modality() -> None:
    with pytest.raises(InvalidInputError, match="'what is this' has no vector for modality 'image'"):
        QuestionBank.fit([Question("what is this", vectors={"text": ASKED[0]})], make_sources())
