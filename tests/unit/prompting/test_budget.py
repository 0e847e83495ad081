from __future__ import annotations

from typing import Any

import pytest

from commonscale.core.errors import InvalidInputError
from commonscale.prompting import Budget


@pytest.mark.parametrize("name", ["items", "tokens", "item_tokens"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_limits_are_whole_numbers_from_one(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"{name} must be an integer >= 1, or None for no limit, got {value!r}"):
        Budget(**{name: value})


@pytest.mark.parametrize("value", [-1, 1.5, False])
def test_no_images_is_a_limit_too(value: Any) -> None:
    assert Budget(images=0).images == 0
    with pytest.raises(InvalidInputError, match="images must be an integer >= 0"):
        Budget(images=value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"items": 2, "minimum": {"text": 2, "image": 1}}, "add up to 3, more than the 2"),
        ({"minimum": {"text": 2}, "maximum": {"text": 1}}, "above its maximum of 1"),
        ({"maximum": {"text": -1}}, "integer >= 0"),
        ({"image_tokens": "gpt-9"}, "no rule for image tokens is named 'gpt-9'"),
        ({"image_tokens": lambda width, height: None}, "image_tokens must give a number"),
        ({"text_tokens": 4}, "function from a text to its tokens, got 4"),
    ],
)
def test_what_cannot_be_met_is_told_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Budget(**settings)


def test_later_changes_of_the_callers_dicts_change_nothing() -> None:
    minimum, maximum = {"text": 1}, {"image": 2}
    budget = Budget(minimum=minimum, maximum=maximum)
    minimum["text"], maximum["image"] = 9, 0
    assert (budget.quotas.minimum, budget.quotas.maximum) == ({"text": 1}, {"image": 2})


def test_minima_alone_need_no_number_of_items() -> None:
    assert Budget(minimum={"text": 5}).items is None
