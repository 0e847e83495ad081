"""Asking a language model about many questions in one prompt, and reading what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from commonscale.core.types import IMAGE, TEXT, Modality

LONGEST = 500
"""Characters of a question that are shown to the model."""

DESCRIPTIONS: Mapping[Modality, str] = {
    TEXT: "written passages: facts, names, dates, definitions, events",
    IMAGE: "pictures: what something or someone looks like, colors, shapes, counts, clothes, what is shown",
}

_THOUGHTS = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.S | re.I)
_NUMBERED = re.compile(r"^[^\w\n]*(?:question|q|no\.?)?\s*[\"'#(\[]*(\d+)(?![\d%]|\.\d)", re.M | re.I)
_VALUE = r"(\d+(?:\.\d+)?|\.\d+)\s*(%?)"


def prompt_of(texts: Sequence[str], modalities: Mapping[Modality, str]) -> str:
    """Ask in one prompt for the percentages of all modalities for each question.

    Args:
        texts: the questions, at least one; each becomes one line, so that none can pass for another.
        modalities: what each modality holds, in a few words.
    """
    share = 100 // len(modalities)
    example = " ".join(f"{label}={share}" for label in modalities)
    held = "\n".join(f"- {label}: {description}" for label, description in modalities.items())
    asked = "\n".join(f"{number}. {_one_line(text)}" for number, text in enumerate(texts, 1))
    return (
        f"A collection holds documents of these kinds:\n{held}\n\n"
        f"For each question below, judge from its wording in which kind of document its answer is found. Do not answer "
        f"the questions. Reply with one line for each and nothing else: its number, a colon and a percentage for "
        f"each kind, like this (if you cannot tell):\n1: {example}\n\nQuestions:\n{asked}\n"
    )


def read_answer(answer: str, count: int, modalities: Sequence[Modality]) -> list[list[float] | None]:
    """Read shares of modalities from what a model answered.

    Understood are lines as asked for, JSON (an object by number, a list, or one object for one question), percentages
    and fractions, with or without Markdown, thoughts in tags, and a line that only names one modality. Where a
    number is answered twice the last counts: models correct themselves.

    Args:
        answer: the model's words.
        count: how many questions were asked.
        modalities: the labels.

    Returns:
        For each question its shares, which sum to 1, or None where the answer says nothing clear.
    """
    text = _THOUGHTS.sub("", answer)
    found: list[list[float] | None] = [None] * count
    for number, part in _parts(text, count):
        if 1 <= number <= count:
            shares = _of_mapping(part, modalities) if isinstance(part, dict) else _of_words(part, modalities)
            found[number - 1] = shares or found[number - 1]
    return found


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return json.dumps(line if len(line) <= LONGEST else line[:LONGEST] + "...", ensure_ascii=False)


def _parts(text: str, count: int) -> Iterator[tuple[int, Any]]:
    """Give what belongs to each number: an object of JSON, or the words up to the next number."""
    parsed = _json(text)
    if isinstance(parsed, list):
        yield from enumerate(parsed, 1)
        return
    if isinstance(parsed, dict):
        numbered = {int(key): value for key, value in parsed.items() if key.strip().isdecimal()}
        yield from numbered.items() if numbered else [(1, parsed)] if count == 1 else []
        return
    marks = list(_NUMBERED.finditer(text))
    for mark, following in zip(marks, [*marks, None][1:], strict=True):
        yield int(mark[1]), text[mark.end() : following.start() if following else len(text)]
    if count == 1 and not marks:
        yield 1, text


def _json(text: str) -> Any:
    for opening, closing in ("{}", "[]"):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end:
            try:
                return json.loads(text[start : end + 1])
            except (ValueError, RecursionError):
                continue
    return None


def _of_mapping(part: Mapping[str, Any], modalities: Sequence[Modality]) -> list[float] | None:
    values = {str(key).strip().casefold(): value for key, value in part.items()}
    said = {label: values.get(label.casefold()) for label in modalities}
    return _of_words(", ".join(f"{label}={value}" for label, value in said.items() if value is not None), modalities)


def _of_words(part: Any, modalities: Sequence[Modality]) -> list[float] | None:
    if not isinstance(part, str):
        return None
    named = {label: rf"(?<!\w){re.escape(label)}s?(?!\w)" for label in modalities}
    matches = {
        label: re.search(rf"{name}[\"'`*_]*\s*(?:[:=]|is)?\s*[*_\"]*{_VALUE}", part, re.I)
        for label, name in named.items()
    }
    values = {label: float(match[1]) for label, match in matches.items() if match}
    if not values:
        only = [label for label, name in named.items() if re.search(name, part, re.I)]
        return [float(label == only[0]) for label in modalities] if len(only) == 1 else None
    if len(values) == len(modalities) - 1:
        # The one left out has the rest. A lone 1 may be all or a percent of it: nothing clear.
        percent = any(match and match[2] for match in matches.values()) or sum(values.values()) > 1
        if not percent and sum(values.values()) == 1:
            return None
        rest = (100.0 if percent else 1.0) - sum(values.values())
        values |= {label: rest for label in modalities if label not in values}
    if len(values) < len(modalities) or min(values.values()) < 0 or not sum(values.values()) > 0:
        return None
    total = sum(values.values())
    return [values[label] / total for label in modalities]
