from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from commonscale import Question
from commonscale.core.errors import InvalidInputError
from commonscale.core.keys import with_strata

WORDS = [Question("one"), Question("two"), Question("three")]
PICTURES = [Question(vector=np.ones(3, dtype=np.float32), kind="image") for _ in range(2)]


def keys(questions: list[Question]) -> list[str | None]:
    return [question.stratum for question in questions]


def test_each_question_has_its_key() -> None:
    assert keys(with_strata(WORDS, ["a", None, "b"])) == ["a", None, "b"]
    assert keys(with_strata(WORDS, np.array(["a", "b", "a"]))) == ["a", "b", "a"]  # type: ignore[arg-type]
    assert with_strata(WORDS, None) == WORDS
    assert with_strata([], []) == []


def test_pictures_may_lack_keys() -> None:
    asked = [*WORDS, *PICTURES]
    assert keys(with_strata(asked, ["a", "b", "c"])) == ["a", "b", "c", None, None]
    assert keys(with_strata(asked, ["a", "b", "c", "d", None])) == ["a", "b", "c", "d", None]
    assert keys(with_strata(PICTURES, ["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize("strata", [[], ["a", "b"], ["a", "b", "c", "d"]])
def test_another_number_of_keys_is_refused(strata: list[str]) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{len(strata)} strata come with 3 questions; give one key for each"):
        with_strata(WORDS, strata)


@pytest.mark.parametrize("count", [2, 4, 6])
def test_some_of_the_pictures_are_not_enough(count: int) -> None:
    with pytest.raises(InvalidInputError, match=r"3 questions in words and 2 pictures; .* one for each picture"):
        with_strata([*WORDS, *PICTURES], ["a"] * count)


@pytest.mark.parametrize("strata", ["abc", b"abc", lambda question: "a", 3])
def test_what_is_no_list_is_refused(strata: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"strata is a list of keys, one for each question.*stratum="):
        with_strata(WORDS, strata)


def test_keys_are_text() -> None:
    with pytest.raises(InvalidInputError, match="the stratum of the question 'two' must be text or None, got 2"):
        with_strata(WORDS, ["1", 2, "3"])  # type: ignore[list-item]
