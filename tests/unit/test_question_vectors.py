"""Stacking the vectors of questions."""

from __future__ import annotations

import numpy as np
import pytest

from commonscale import Question
from commonscale.core.errors import InvalidInputError
from commonscale.core.question_vectors import question_rows


def question(*values: float) -> Question:
    return Question("q", np.array(values))


def test_rows_are_unit_float32_and_contiguous():
    rows = question_rows([question(3.0, 4.0), question(0.0, -2.0)], "text")
    assert rows == pytest.approx(np.array([[0.6, 0.8], [0.0, -1.0]]))
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous


def test_unit_questions_stay_bit_for_bit():
    vector = np.array([0.6, 0.8], dtype=np.float32)
    assert np.array_equal(question_rows([Question("q", vector)], "text", 2)[0], vector)


def test_each_modality_has_its_own_vector():
    own = Question("q", np.array([1.0, 0.0]), {"image": np.array([0.0, 1.0, 0.0])})
    assert question_rows([own], "image", 3).tolist() == [[0.0, 1.0, 0.0]]
    assert question_rows([own], "text", 2).tolist() == [[1.0, 0.0]]


def test_large_and_small_vectors_keep_their_direction():
    rows = question_rows([question(3e30, 4e30), question(3e-30, 4e-30)], "text")
    assert rows == pytest.approx(np.array([[0.6, 0.8]] * 2))


@pytest.mark.parametrize(
    ("questions", "dimension", "message"),
    [
        (
            [question(1.0, 0.0)],
            3,
            r"'q' has a vector of shape \(2,\) where the documents of modality 'text' have \(3,\)",
        ),
        ([question(1.0, 0.0), question(1.0)], None, r"shape \(1,\) where .* have \(2,\)"),
        ([Question("q", np.eye(2))], None, r"shape \(2, 2\)"),
        ([Question("q")], None, "no vector for modality 'text'"),
        ([question(1.0, 0.0), question(0.0, 0.0)], None, r"question vector 1 \(null\)"),
        ([question(np.nan, 0.0)], None, "not finite"),
        ([question(np.inf, 0.0)], None, "not finite"),
    ],
)
def test_unusable_questions_are_named(questions, dimension, message):
    with pytest.raises(InvalidInputError, match=message):
        question_rows(questions, "text", dimension)
