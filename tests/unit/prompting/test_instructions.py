from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from commonscale.core.errors import InvalidInputError
from commonscale.prompting import (
    ANSWER_INSTRUCTIONS,
    CHAT_INSTRUCTIONS,
    CONDENSE_INSTRUCTIONS,
    PreparedPicture,
    Prompt,
    PromptBuilder,
    PromptItem,
    condense_text,
    user_parts,
)
from commonscale.prompting.instructions import CLOSING, NO_DOCUMENTS, OPENING
from fake_pictures import FakePictures


@pytest.mark.parametrize("text", [ANSWER_INSTRUCTIONS, CHAT_INSTRUCTIONS, CONDENSE_INSTRUCTIONS])
def test_frameworks_can_put_the_instructions_into_templates(text: str) -> None:
    assert text.format() == text
    assert text == text.strip()


@pytest.mark.parametrize("write", [partial(user_parts, Prompt(())), partial(condense_text, [("a", "b")])])
def test_a_question_that_no_request_can_hold_is_refused(write: Callable[[str], object]) -> None:
    with pytest.raises(InvalidInputError, match=r"'caf\\udce9' is no valid Unicode .*errors='replace'"):
        write(b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert write("café 🚌")


def test_the_instructions_name_what_stands_around_the_documents() -> None:
    assert f"{OPENING} and {CLOSING}" in ANSWER_INSTRUCTIONS
    assert "[1]" in ANSWER_INSTRUCTIONS


def test_a_conversation_has_the_same_instructions_and_one_about_earlier_numbers() -> None:
    assert CHAT_INSTRUCTIONS.startswith(f"{ANSWER_INSTRUCTIONS}\n- ")
    assert "earlier answers" in CHAT_INSTRUCTIONS


def test_documents_stand_labelled_in_ranked_order_before_the_question() -> None:
    items = [
        PromptItem("a", "text", "A boat."),
        PromptItem("b", "image", "A caption.", "20x10"),
        PromptItem("c", "image", picture="30x30"),
        PromptItem("d", "text", "An island."),
    ]
    prompt = PromptBuilder(pictures=FakePictures()).build(items)
    parts = user_parts(prompt, "What is red?")
    assert [part.content if isinstance(part, PreparedPicture) else part for part in parts] == [
        "<documents>",
        "[1] A boat.",
        "[2] A caption.",
        b"20x10",
        "[3]",
        b"30x30",
        "[4] An island.",
        "</documents>\n\nQuestion: What is red?",
    ]


def test_a_model_is_told_that_nothing_was_found() -> None:
    assert user_parts(Prompt(()), "What is red?") == [f"{NO_DOCUMENTS}\n\nQuestion: What is red?"]


def test_a_conversation_is_written_out_for_condensing() -> None:
    text = condense_text([("Who made it?", "Ann [1]."), ("When?", "In 1990.")], "And where?")
    assert text == (
        "Conversation:\nUser: Who made it?\nAssistant: Ann [1].\nUser: When?\nAssistant: In 1990.\n\n"
        "Last question: And where?"
    )
