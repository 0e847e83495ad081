from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.prompting import count_text
from commonscale.prompting.cutting import shorten


def words(text: str) -> int:
    return len(text.split())


def characters(text: str) -> int:
    return len(text)


def test_a_short_text_stays() -> None:
    assert shorten("one two three", 3, words) == "one two three"


@pytest.mark.parametrize(
    ("text", "most", "count", "cut"),
    [
        ("one two three four", 3, words, "one two …"),
        ("one two three four", 12, characters, "one two …"),
        ("one two three four", 9, characters, "one two …"),
        ("one two three four", 8, characters, "one …"),
        ("one, two", 6, characters, "one, …"),
        ("one\n\n\ntwo three", 8, characters, "one …"),
        ("onetwothree", 5, characters, "one…"),
        ("one", 2, characters, ""),
        ("日" * 100, 10, characters, "日" * 8 + "…"),
        ("a " + "b" * 200, 110, characters, "a " + "b" * 106 + "…"),
    ],
)
def test_a_long_text_is_cut_after_a_word_that_ends_nearby(text: str, most: int, count: object, cut: str) -> None:
    assert shorten(text, most, count) == cut


@given(st.text(), st.integers(1, 30), st.sampled_from([words, characters, count_text]))
def test_what_is_left_fits_and_is_the_beginning(text: str, most: int, count: object) -> None:
    cut = shorten(text, most, count)
    assert count(cut) <= most
    if cut != text:
        assert not cut or cut.endswith("…")
        assert text.startswith(cut.removesuffix("…").removesuffix(" "))


@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=80), st.integers(1, 200))
def test_whole_words_are_kept_where_words_are_short(parts: list[str], most: int) -> None:
    text = " ".join(parts)
    cut = shorten(text, most, characters)
    kept = cut.removesuffix("…").split()
    if cut.endswith(" …"):
        assert kept == parts[: len(kept)]
        # One word more would have been too long.
        assert len(" ".join(parts[: len(kept) + 1])) + 2 > most
    elif cut.endswith("…"):
        assert len(kept) == 1  # not even the first word fits


@given(st.text(max_size=60), st.integers(1, 30), st.integers(0, 2**16))
def test_tokens_that_do_not_grow_with_the_text_are_checked(text: str, most: int, seed: int) -> None:
    def erratic(text: str) -> int:
        return zlib.crc32(text.encode("utf-8", "surrogatepass"), seed) % 40

    cut = shorten(text, most, erratic)
    assert not cut or erratic(cut) <= most


def test_a_book_is_counted_a_few_times_only() -> None:
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return count_text(text)

    shorten("word " * 1_000_000, 500, count)
    *others, whole = sorted(counted)
    assert whole == 5_000_000
    assert max(others) < 10_000
    assert len(counted) < 30
