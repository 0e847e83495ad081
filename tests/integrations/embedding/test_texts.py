"""Cutting texts into passages: within the limit, nothing lost, and in a time that grows with the length only."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("semantic_text_splitter")

import semantic_text_splitter as splitters

from commonscale.embedding.texts import Chunker

LIMIT = 12
WORDS = ["dog", "beach", "größe", "👩‍👩‍👧", "été", "a", "unbelievable"]


def tokens(text: str) -> int:
    """Count as a tokenizer of subwords does: four characters of a word are a token, with two marks at the ends."""
    return 2 + sum(-(-len(word) // 4) for word in re.findall(r"\w+|[^\w\s]", text))


class Counting:
    """Counts tokens, and the characters that it was shown."""

    def __init__(self, count: Callable[[str], int] = tokens) -> None:
        self.characters = 0
        self._count = count

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.characters += sum(map(len, texts))
        return [self._count(text) for text in texts]


def prose(length: int) -> str:
    draw = random.Random(length)
    text = ""
    while len(text) < length:
        sentence = " ".join(draw.choices(WORDS, k=draw.randint(1, 25))).capitalize()
        text += sentence + draw.choice([". ", ".\n", ".\n\n", " "])
    return text


def letters(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [prose(30_000), " ".join(random.Random(1).choices(WORDS, k=4000)), "x" * 5000, "x y\n\n" * 2000],
    ids=["prose", "words", "one word", "paragraphs"],
)
def test_windows_give_the_passages_of_the_text_in_one_piece(text: str) -> None:
    found = Chunker(Counting(), LIMIT).chunks(text, Path("a.txt"))
    expected = splitters.TextSplitter.from_callback(tokens, LIMIT).chunks(text.strip())
    assert found == expected
    assert max(map(tokens, found)) <= LIMIT
    assert letters("".join(found)) == letters(text)


@pytest.mark.parametrize("suffix", [".txt", ".md"])
@pytest.mark.parametrize("unit", ["x", "dog cat "], ids=["one word", "one line"])
def test_work_grows_no_faster_than_the_text(unit: str, suffix: str) -> None:
    def work(length: int) -> int:
        count = Counting()
        text = "# Title\n\n" + unit * (length // len(unit)) + "\n\nThe end.\n"
        found = Chunker(count, LIMIT).chunks(text, Path(f"a{suffix}"))
        assert max(map(tokens, found)) <= LIMIT
        assert letters("".join(found)) == letters(text)
        return count.characters

    assert work(40_000) < 5 * work(10_000)


def test_markdown_keeps_its_structure_around_a_long_line() -> None:
    text = "# One\n\nFirst words here.\n\n![](data:" + "A" * 3000 + ")\n\n# Two\n\nLast words here.\n"
    found = Chunker(Counting(), LIMIT).chunks(text, Path("a.md"))
    assert found[0] == "# One\n\nFirst words here."
    assert found[-1] == "# Two\n\nLast words here."
    assert max(map(tokens, found)) <= LIMIT


def test_a_long_text_of_few_tokens_stays_whole() -> None:
    # A tokenizer may make one token of a word that it does not know, however long.
    count = Counting(lambda text: 2 + len(text.split()))
    assert Chunker(count, LIMIT).chunks("x" * 5000, Path("a.txt")) == ["x" * 5000]
    long_words = " ".join(["x" * 3000] * 40)
    found = Chunker(count, LIMIT).chunks(long_words, Path("a.txt"))
    assert max(len(chunk.split()) for chunk in found) == LIMIT - 2
    assert letters("".join(found)) == letters(long_words)
