from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.prompting.code_spans import code_spans


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no code", []),
        ("`a`", ["`a`"]),
        ("x `a` y ``b ` c`` z", ["`a`", "``b ` c``"]),
        ("`a", []),
        ("``a`", []),
        ("`` `a` ``", ["`` `a` ``"]),
        ("a\n```python\nx[0]\n```\nb", ["```python\nx[0]\n```"]),
        ("~~~\n```\n~~~", ["~~~\n```\n~~~"]),
        ("````\n```\nx\n````", ["````\n```\nx\n````"]),
        ("```\nnever closed [1]", ["```\nnever closed [1]"]),
        ("```\nx\n```python\n[1]", ["```\nx\n```python\n[1]"]),
        ("``` in `line` ```", ["``` in `line` ```"]),
        ("    ```\n[1]", []),
        ("`a\n```\nb\n```\n`c`", ["```\nb\n```", "`c`"]),
    ],
)
def test_examples(text: str, code: list[str]) -> None:
    assert [text[start:end] for start, end in code_spans(text)] == code


@given(st.lists(st.sampled_from(["`", "``", "```", "~~~", "\n", " ", "a"])).map("".join))
def test_spans_are_in_order_and_begin_with_a_fence_or_backtick(text: str) -> None:
    place = 0
    for start, end in code_spans(text):
        assert place <= start < end <= len(text)
        assert text[start:end].lstrip(" ")[0] in "`~"
        place = end
