from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.prompting import (
    Citations,
    Prompt,
    PromptItem,
    SentItem,
    parse_citations,
    strip_citations,
    strip_unknown,
)
from commonscale.prompting.citations import cited_numbers


def sent(*numbers: int) -> Prompt:
    return Prompt(
        tuple(
            SentItem(number, PromptItem(f"id{number}", "text", "...", payload=object()), None, 1, "...")
            for number in numbers
        )
    )


FIVE = sent(1, 2, 3, 4, 5)

answers = st.lists(
    st.sampled_from(
        [
            "[1]",
            "[2, 9]",
            "[7]",
            "[3-8]",
            "[^4]",
            "`[1]`",
            "```\n",
            "[1](x)",
            "[2021]",
            "word",
            " ",
            "[",
            "]",
            "\n",
            "5",
        ]
    )
).map("".join)

plain_answers = st.lists(st.sampled_from(["[1]", "[2, 9]", "[7]", "[3-8]", "[^4]", "[2021]", "word", " ", "\n"])).map(
    "".join
)


def numbers(citations: Citations) -> list[int]:
    return [citation.number for citation in citations.cited]


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("Red [1].", [1]),
        ("Red [1][3].", [1, 3]),
        ("Red [1, 3].", [1, 3]),
        ("Red [3,1;2 & 4].", [3, 1, 2, 4]),
        ("Red [1 and 3].", [1, 3]),
        ("Red [2-4].", [2, 3, 4]),
        ("Red [2 – 3, 5].", [2, 3, 5]),
        ("Red [^1].", [1]),
        ("Red [^1, ^2].", [1, 2]),
        ("Red【1】and ［2］.", [1, 2]),
        ("Red【3†source】.", [3]),
        ("Red \\[1\\].", [1]),
        ("Red [Document 2], [docs 3, 4], [Source 5].", [2, 3, 4, 5]),
        ("Red [ 1 ].", [1]),
        ("Red **[1]** _[2]_ | [3] |", [1, 2, 3]),
        ("[1]: a note", [1]),
        ("See [1](https://example.com).", [1]),
        ("Red [2][1][2].", [2, 1]),
        ("Red [٣].", [3]),
    ],
)
def test_what_counts_as_a_citation(answer: str, cited: list[int]) -> None:
    found = parse_citations(answer, FIVE)
    assert numbers(found) == cited
    assert found.ids == [f"id{number}" for number in cited]
    assert found.unknown == ()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "(1) Red, (2) green.",
        "In 1 of 2 cases.",
        "[2021] and [1984]",
        "[10-12-2021]",
        "[a1] [1a] [1.5] [x] [] [-1]",
        "Use `a[1]`, ``b[2]`` or\n```python\nc[3]\n```",
        "```\nnot closed yet [1]",
        "[the first](https://example.com/1)",
        "[7](https://example.com)",
        "[1",
        "1]",
        "[1\n\n\n\n\n]",
    ],
)
def test_what_does_not(answer: str) -> None:
    found = parse_citations(answer, FIVE)
    assert (found.cited, found.unknown, found.marks) == ((), (), ())


@pytest.mark.parametrize(
    ("answer", "cited", "unknown"),
    [
        ("Red [6].", [], (6,)),
        ("Red [0].", [], (0,)),
        ("Red [9][7][9].", [], (9, 7)),
        ("Red [1, 9].", [1], (9,)),
        ("Red [4-9].", [4, 5], (9,)),
        ("Red [0-2].", [1, 2], (0,)),
        ("Red [7-9].", [], (7, 9)),
        ("Red [1-999999999].", [1, 2, 3, 4, 5], ()),
        ("Red [999] in [1000].", [], (999,)),
        ("Red [4-2].", [4, 2], ()),
    ],
)
def test_numbers_that_were_not_sent_are_flagged(answer: str, cited: list[int], unknown: tuple[int, ...]) -> None:
    found = parse_citations(answer, FIVE)
    assert (numbers(found), found.unknown) == (cited, unknown)


def test_a_thousand_documents_can_be_cited() -> None:
    found = parse_citations("Red [1500], [2500].", sent(*range(1, 2001)))
    assert (numbers(found), found.unknown) == ([1500], ())


def test_numbers_of_a_prompt_may_have_gaps() -> None:
    found = parse_citations("Red [1-4][2].", sent(1, 3, 4))
    assert (numbers(found), found.unknown) == ([1, 3, 4], (2,))
    assert found.ids == ["id1", "id3", "id4"]


def test_from_a_citation_back_to_the_payload_and_the_answer() -> None:
    answer = "Red [2], round [1, 2]; maybe [8]."
    found = parse_citations(answer, FIVE)
    assert [answer[start:end] for start, end in found.cited[0].spans] == ["[2]", "[1, 2]"]
    assert found.cited[0].item is FIVE.sent[1].item
    assert found.cited[0].item.payload is FIVE.sent[1].item.payload
    assert [(answer[mark.start : mark.end], mark.numbers, mark.unknown) for mark in found.marks] == [
        ("[2]", (2,), ()),
        ("[1, 2]", (1, 2), ()),
        ("[8]", (), (8,)),
    ]


@given(answers)
def test_spans_numbers_and_marks_agree(answer: str) -> None:
    found = parse_citations(answer, FIVE)
    assert {n for mark in found.marks for n in mark.numbers} == set(numbers(found)) <= {1, 2, 3, 4, 5}
    assert {n for mark in found.marks for n in mark.unknown} == set(found.unknown)
    assert not set(found.unknown) & {1, 2, 3, 4, 5}
    for citation in found.cited:
        assert citation.spans == tuple((m.start, m.end) for m in found.marks if citation.number in m.numbers)
    ends = [0, *(mark.end for mark in found.marks)]
    assert all(end <= mark.start < mark.end for end, mark in zip(ends, found.marks, strict=False))


@given(answers)
def test_without_a_prompt_every_number_is_found(answer: str) -> None:
    known = [(span, ns) for span, ns in cited_numbers(answer, (1, 2, 3, 4, 5)) if not answer.startswith("(", span[1])]
    unaware = [(span, ns) for span, ns in cited_numbers(answer) if not answer.startswith("(", span[1])]
    assert [span for span, _ in known] == [span for span, _ in unaware]
    assert all(set(some) <= set(every) for (_, some), (_, every) in zip(known, unaware, strict=True))


@given(answers)
def test_an_answer_that_is_still_being_written_never_takes_a_whole_bracket_back(answer: str) -> None:
    # Only a code block or span that is not closed yet may swallow what stands behind its beginning.
    if "`" not in answer:
        whole = parse_citations(answer, FIVE).marks
        for length in range(len(answer)):
            begun = parse_citations(answer[:length], FIVE).marks
            assert [mark.start for mark in begun] == [mark.start for mark in whole if mark.end <= length]


@pytest.mark.parametrize(
    ("answer", "stripped"),
    [
        ("Red [1].", "Red [1]."),
        ("Red [9].", "Red."),
        ("Red [9], round [1, 7]; big [2-9].", "Red, round [1]; big [2][3][4][5]."),
        ("[7] Red [1, 3]", " Red [1, 3]"),
        ("Red [2021] `a[9]` [9](x)", "Red [2021] `a[9]` [9](x)"),
        ("- [9]\n- [1]", "-\n- [1]"),
    ],
)
def test_made_up_citations_can_be_taken_out(answer: str, stripped: str) -> None:
    assert strip_unknown(answer, parse_citations(answer, FIVE)) == stripped


@given(plain_answers)
def test_after_stripping_nothing_unknown_is_left_and_the_rest_is_cited_as_before(answer: str) -> None:
    found = parse_citations(answer, FIVE)
    stripped = strip_unknown(answer, found)
    if not found.unknown:
        assert stripped == answer
    again = parse_citations(stripped, FIVE)
    assert again.unknown == ()
    assert numbers(again) == numbers(found)


def test_citations_can_be_taken_out_of_earlier_answers() -> None:
    assert strip_citations("Red [1], round [2, 3]. In [2021] too.") == "Red, round. In [2021] too."
