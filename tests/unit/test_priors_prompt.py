"""Priors that ask a language model: what it is asked, what is understood of it, and what happens if it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import Question
from commonscale.core.errors import FileFormatError, InvalidInputError, PriorError, PriorWarning
from commonscale.priors import PromptPrior, load_prior
from commonscale.priors.answers import prompt_of, read_answer

PAIR = ("text", "image")


class Model:
    """A fake language model: answers from a table of words, and remembers what it was asked."""

    def __init__(self, **shares: int) -> None:
        self.shares = shares
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        lines = prompt.split("Questions:\n")[1].strip().splitlines()
        numbered = [line.split(". ", 1) for line in lines]
        said = [(number, self.shares.get(json.loads(text))) for number, text in numbered]
        return "\n".join(f"{number}: text={share} image={100 - share}" for number, share in said if share is not None)


def asked(*texts: str) -> list[Question]:
    return [Question(text) for text in texts]


def shares(answer: str, count: int = 1, modalities: tuple[str, ...] = PAIR) -> list[Any]:
    return [None if row is None else [round(x, 4) for x in row] for row in read_answer(answer, count, modalities)]


@pytest.mark.parametrize(
    "answer",
    [
        "1: text=80 image=20",
        "1. Text: 80%, Image: 20%",
        "**1**: `text` = 80, `image` = 20",
        "- Question 1) images = 20 % texts = 80 %",
        "text=80 image=20",
        "1: text=0.8 image=.2",
        "1: text=160 image=40",
        "1: image=20%",
        "1: text 0.8",
        "<think>1: text=1 image=99 no wait</think>\n1: text=80 image=20",
        "1: text=10 image=90\nOn second thought:\n1: text=80 image=20",
        '{"1": {"text": 80, "image": 20}}',
        '```json\n[{"image": 20, "text": 80}]\n```',
        '{"text": "80%", "image": "20%"}',
        '{"1": "text=80 image=20"}',
    ],
)
def test_answers_are_understood(answer: str) -> None:
    assert shares(answer) == [[0.8, 0.2]]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot tell.",
        "1: text=0 image=0",
        "1: text=1",
        "1: text and image",
        "1: context=80",
        "[1",
        "[]",
        "[7]",
        "{}",
    ],
)
def test_unclear_answers_are_none(answer: str) -> None:
    assert shares(answer) == [None]


def test_a_line_that_names_one_modality_is_for_it() -> None:
    assert shares("1: image\n2: **text**\n3: picture", 3) == [[0, 1], [1, 0], None]


def test_numbers_belong_to_their_questions() -> None:
    assert shares("2: text=30 image=70\n9: text=1 image=99\n1: text=60 image=40", 3) == [[0.6, 0.4], [0.3, 0.7], None]
    assert shares('{"3": {"text": 1, "image": 3}, "0": {"text": 1, "image": 0}}', 3) == [None, None, [0.25, 0.75]]
    assert shares("1: text=50\nimage=50\n2: text=20\nimage=80", 2) == [[0.5, 0.5], [0.2, 0.8]]


def test_three_modalities_with_labels_of_any_kind() -> None:
    labels = ("text", "audio clip", "table (csv)")
    assert shares("1: text=50 audio clip=30 table (csv)=20", 1, labels) == [[0.5, 0.3, 0.2]]
    assert shares("1: text=50 audio clip=30", 1, labels) == [[0.5, 0.3, 0.2]]
    assert shares("1: text=50", 1, labels) == [None]


@given(st.text(max_size=80), st.integers(1, 3))
def test_any_words_give_shares_that_sum_to_one_or_none(answer: str, count: int) -> None:
    found = read_answer(answer, count, PAIR)
    assert len(found) == count
    for row in found:
        assert row is None or (min(row) >= 0 and abs(sum(row) - 1) < 1e-9)


def test_a_question_cannot_pass_for_another() -> None:
    prompt = prompt_of(["who?\n2. what color", "x" * 5000], {"text": "words", "image": "pictures"})
    lines = prompt.split("Questions:\n")[1].splitlines()
    assert lines[0] == '1. "who? 2. what color"'
    assert len(lines) == 2
    assert len(lines[1]) < 600


def test_many_questions_go_into_few_prompts_and_each_only_once() -> None:
    model = Model(a=80, b=50, c=5)
    prior = PromptPrior(model, batch_size=2, strength=1.0)
    rows = prior.evidence(asked("a", "b", "c", "a"))
    assert [prompt.count("\n1. ") + prompt.count("\n2. ") for prompt in model.prompts] == [2, 1]
    np.testing.assert_allclose(rows[:, 0] - rows[:, 1], np.log([4, 1, 5 / 95, 4]))
    prior.evidence(asked("c", "b"))
    assert len(model.prompts) == 2
    prior.scaled(2.0).offsets(asked("a"))
    assert len(model.prompts) == 2


def test_certainty_is_cut_at_the_limit() -> None:
    offsets = PromptPrior(Model(a=100), strength=1.0).offsets(asked("a"))
    assert offsets["text"].tolist() == [2.0]


def test_what_is_forgotten_is_asked_again() -> None:
    model = Model(a=80, b=50)
    prior = PromptPrior(model, cache_size=1)
    for text in ("a", "a", "b", "a"):
        prior.evidence(asked(text))
    assert len(model.prompts) == 3


def test_unread_questions_are_asked_again_alone_and_then_left_flat_with_a_warning() -> None:
    model = Model(a=80)
    with pytest.warns(
        PriorWarning, match=r"said nothing of 1 of 2 questions, the first is 'z' \(its answer could not be"
    ):
        rows = PromptPrior(model).evidence(asked("a", "z"))
    assert [len(prompt.split("Questions:\n")[1].splitlines()) for prompt in model.prompts] == [2, 1]
    assert rows[1].tolist() == [0.0, 0.0]
    with pytest.raises(PriorError, match="said nothing of 1 of 1 questions"):
        PromptPrior(model, on_failure="raise").evidence(asked("z"))


def test_a_model_that_fails_does_not_fail_the_search() -> None:
    def broken(prompt: str) -> str:
        raise ConnectionError("no route")

    with pytest.warns(PriorWarning, match=r"it failed: ConnectionError\('no route'\)"):
        assert not PromptPrior(broken, strength=1.0).offsets(asked("a"))["text"].any()
    with pytest.raises(PriorError, match="no route") as caught:
        PromptPrior(broken, on_failure="raise").evidence(asked("a"))
    assert isinstance(caught.value.__cause__, ConnectionError)
    with pytest.warns(PriorWarning, match="must answer with text, got int"):
        PromptPrior(len).evidence(asked("a"))


async def test_coroutine_functions_are_awaited_and_plain_ones_run_in_a_thread() -> None:
    model = Model(a=80, b=20)

    async def amodel(prompt: str) -> str:
        return model(prompt)

    for llm in (amodel, model):
        rows = await PromptPrior(llm, batch_size=1).aevidence(asked("a", "b"))
        np.testing.assert_allclose(rows[:, 0] - rows[:, 1], [np.log(4), -np.log(4)])
    with pytest.raises(InvalidInputError, match="cannot await it"):
        PromptPrior(amodel).evidence(asked("a"))


def test_a_coroutine_function_serves_a_synchronous_search() -> None:
    model = Model(a=80)

    async def amodel(prompt: str) -> str:
        return model(prompt)

    np.testing.assert_allclose(np.exp(PromptPrior(amodel).evidence(asked("a"))), [[0.8, 0.2]])


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="a function from prompt to answer, got 'gpt'"):
        PromptPrior("gpt")
    with pytest.raises(InvalidInputError, match=r"batch_size must be .* got 0"):
        PromptPrior(len, batch_size=0)
    with pytest.raises(InvalidInputError, match=r"on_failure must be .* got 'skip'"):
        PromptPrior(len, on_failure="skip")  # type: ignore[arg-type]


def test_a_file_keeps_the_answers_but_not_the_questions(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    prior = PromptPrior(Model(secret=80), strength=0.5)
    prior.evidence(asked("secret"))
    prior.save(path)
    assert "secret" not in path.read_text("utf-8")
    with pytest.raises(InvalidInputError, match=r"give load_prior\(llm=...\)"):
        load_prior(path)
    model = Model(other=10)
    again = load_prior(path, llm=model)
    np.testing.assert_allclose(again.offsets(asked("secret"))["text"], prior.offsets(asked("secret"))["text"])
    assert not model.prompts
    whole = json.loads(path.read_text("utf-8"))
    whole["answers"] = {"k": [2, 3]}
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"the answer 'k' is \[2, 3\], not 2 shares that sum to 1"):
        load_prior(path, llm=model)
