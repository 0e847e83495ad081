from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.errors import InvalidInputError
from commonscale.prompting import PICTURE_RULES, PreparedPicture, count_text, rule_of
from commonscale.prompting.costs import picture_cost, text_cost

SQUARE = PreparedPicture(b"...", "image/png", 1024, 1024)
ADDRESS = PreparedPicture(url="https://example.com/a.jpg")


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("äöüß", 2), ("\ud800", 1)])
def test_the_estimate_of_a_text(text: str, tokens: int) -> None:
    assert count_text(text) == tokens


@given(st.text(), st.text())
def test_the_estimate_grows_with_the_text(one: str, other: str) -> None:
    assert max(count_text(one), count_text(other)) <= count_text(one + other) <= count_text(one) + count_text(other)


@pytest.mark.parametrize(
    "count",
    [lambda text: 3, lambda text: 2.5, lambda text: np.int64(3), lambda text: ["a", "b", "c"], lambda text: (1, 2, 3)],
)
def test_tokens_of_a_text_may_be_a_number_or_a_list(count: Any) -> None:
    found = text_cost(count)("whatever")
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, None, "three", {"input_ids": [1, 2]}, True])
def test_what_is_no_number_of_tokens_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="text_tokens must give a number of tokens >= 0, got"):
        text_cost(lambda text: wrong)("whatever")
    with pytest.raises(InvalidInputError, match="image_tokens must give a number of tokens >= 0, got"):
        picture_cost(lambda width, height: wrong)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="function from a text to its tokens, got 'gpt2'"):
        text_cost("gpt2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "square", "address"),
    [
        ("flat", 2125, 2125),
        ("gpt-4o", 765, 85 + 8 * 170),
        ("anthropic:claude-opus-4-8", 37 * 37, 4784),
        (rule_of("gpt-4o"), 765, 85 + 8 * 170),
        (300, 300, 300),
        (0, 0, 0),
        (lambda width, height: width * height / 1000, 1049, math.ceil(2048 * 2048 / 1000)),
    ],
)
def test_a_picture_of_unknown_size_is_counted_as_the_dearest(rule: Any, square: int, address: int) -> None:
    cost = picture_cost(rule)
    assert cost(SQUARE) == square
    assert cost(ADDRESS) == cost.unknown == address


@pytest.mark.parametrize("wrong", [-1, True, 2.5, None, "gpt-9", "", ["flat"]])
def test_a_rule_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="image"):
        picture_cost(wrong)


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("flat", "flat"),
        ("gpt-4o:low", "gpt-4o:low"),
        ("pixels/750", "pixels/750"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai:gpt-4.1-mini", "gpt-4.1-mini"),
        ("openai/gpt-4.1", "gpt-4.1"),
        ("OpenAI:GPT-5-chat-latest", "gpt-5"),
        ("google_genai:gemini-2.5-flash", "gemini-2.5"),
        ("models/gemini-3-pro-preview", "gemini-3"),
        ("anthropic:claude-3-5-haiku-latest", "claude"),
        ("o1-pro", "o1"),
    ],
)
def test_the_rule_of_a_model(model: str, row: str) -> None:
    assert rule_of(model) is PICTURE_RULES[row]


@pytest.mark.parametrize(
    "model", ["", "gpt", "gpt-4", "gpt-5.9", "gpt-4omni", "ollama:llava:7b", "local", "gemini-2.5pro"]
)
def test_a_model_without_a_rule(model: str) -> None:
    assert rule_of(model) is None
