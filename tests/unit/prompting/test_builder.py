from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonscale.core.errors import ImageError, InvalidInputError, SkippedImageWarning
from commonscale.prompting import (
    Budget,
    PicturePart,
    PreparedPicture,
    Prompt,
    PromptBuilder,
    PromptItem,
    Reason,
    TextPart,
    parse_citations,
)
from fake_pictures import FakePictures


def text(name: str, words: str = "some words", **more: Any) -> PromptItem:
    return PromptItem(name, "text", words, **more)


def image(name: str, picture: Any = "100x100", words: str = "", modality: str = "image") -> PromptItem:
    return PromptItem(name, modality, words, picture)


def build(ranked: list[PromptItem], /, **limits: Any) -> Prompt:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkippedImageWarning)
        return PromptBuilder(Budget(**limits), FakePictures()).build(ranked)


def names(prompt: Prompt) -> str:
    return "".join(sent.item.id for sent in prompt.sent)


def reasons(prompt: Prompt) -> dict[str, str]:
    return {left.item.id: left.reason.value for left in prompt.left_out}


# Every kind of trouble: doubles, nothing in it, bad pictures, captions, long words, labels that are not known.
some_items = st.lists(
    st.builds(
        PromptItem,
        id=st.sampled_from("abcdefgh"),
        modality=st.sampled_from(["text", "image", "table"]),
        text=st.sampled_from(["", " ", "word", "two words", "[1] a good many words " * 5]),
        picture=st.sampled_from([None, None, "10x10", "900x1200", "bad", "http://a.b/c.png"]),
    ),
    max_size=10,
)
few = st.integers(0, 3)
some_budgets = st.fixed_dictionaries(
    {},
    optional={
        "items": st.integers(3, 6),
        "minimum": st.dictionaries(st.sampled_from(["text", "image"]), st.integers(0, 1)),
        "maximum": st.dictionaries(st.sampled_from(["text", "image", "table"]), st.integers(1, 3)),
        "images": few,
        "tokens": st.one_of(st.integers(1, 60), st.integers(200, 3000)),
        "item_tokens": st.integers(1, 20),
        "image_tokens": st.sampled_from(["gpt-4o", "claude", "flat", 0, 100]),
    },
)


class TestProperties:
    @given(some_items, some_budgets)
    def test_every_item_is_sent_or_left_out_with_one_reason(self, items: list[PromptItem], limits: Any) -> None:
        prompt = build(items, **limits)
        sent, left = [sent.item for sent in prompt.sent], [left.item for left in prompt.left_out]
        assert Counter(map(id, sent + left)) == Counter(map(id, items))
        assert all(left.detail for left in prompt.left_out)

    @given(some_items, some_budgets)
    def test_order_and_numbers(self, items: list[PromptItem], limits: Any) -> None:
        prompt = build(items, **limits)
        places = {id(item): place for place, item in enumerate(items)}
        for chosen in (prompt.sent, prompt.left_out):
            in_order = [places[id(one.item)] for one in chosen]
            assert in_order == sorted(in_order)
        assert [sent.number for sent in prompt.sent] == list(range(1, len(prompt.sent) + 1))
        assert len({(sent.item.id, sent.item.modality) for sent in prompt.sent}) == len(prompt.sent)
        assert len({(sent.item.id, sent.item.text, sent.item.picture) for sent in prompt.sent}) == len(prompt.sent)
        for sent in prompt.sent:
            assert prompt.item(sent.number) is sent.item
        assert prompt.item(0) is prompt.item(len(prompt.sent) + 1) is None

    @given(some_items, some_budgets)
    def test_limits_are_kept(self, items: list[PromptItem], limits: Any) -> None:
        prompt, budget = build(items, **limits), Budget(**limits)
        counts = Counter(sent.item.modality for sent in prompt.sent)
        assert budget.items is None or len(prompt.sent) <= budget.items
        assert budget.tokens is None or prompt.tokens <= budget.tokens
        assert budget.images is None or sum(sent.picture is not None for sent in prompt.sent) <= budget.images
        assert all(counts[modality] <= most for modality, most in budget.maximum.items())
        assert prompt.tokens == sum(sent.tokens for sent in prompt.sent)

    @given(some_items, some_budgets)
    def test_tokens_cover_label_words_and_picture(self, items: list[PromptItem], limits: Any) -> None:
        budget = Budget(**limits)
        prompt = build(items, **limits)
        for sent in prompt.sent:
            words = "".join(p.text for p in prompt.parts if p.number == sent.number and isinstance(p, TextPart))
            assert words == f"{sent.label} {sent.text}".rstrip()
            assert sent.tokens >= budget.text_tokens(words)
            if budget.item_tokens is not None:
                assert budget.text_tokens(sent.text) <= budget.item_tokens
            if sent.picture is not None:
                least = {0: 0, 100: 100, "flat": 2125, "gpt-4o": 255, "claude": 1}[budget.image_tokens]
                assert sent.tokens >= budget.text_tokens(words) + least

    @given(some_items, some_budgets)
    def test_minima_are_met_where_nothing_but_them_is_in_the_way(self, items: list[PromptItem], limits: Any) -> None:
        limits = {name: limit for name, limit in limits.items() if name in ("items", "minimum", "maximum")}
        usable = [item for item in items if (item.text.strip() and item.modality == "text") or good(item)]
        prompt = build(items, **limits)
        counts = Counter(sent.item.modality for sent in prompt.sent)
        for modality, least in limits.get("minimum", {}).items():
            elsewhere = {item.id for item in usable if item.modality != modality}
            there = {item.id for item in usable if item.modality == modality} - elsewhere
            assert counts[modality] >= min(least, len(there))

    @given(some_items, some_budgets)
    def test_what_was_left_out_for_want_of_room_does_not_fit(self, items: list[PromptItem], limits: Any) -> None:
        prompt, budget = build(items, **limits), Budget(**limits)
        for left in prompt.left_out:
            if left.reason is Reason.ITEMS:
                assert len(prompt.sent) == budget.items
            elif left.reason is Reason.MAXIMUM:
                counts = Counter(sent.item.modality for sent in prompt.sent)
                assert counts[left.item.modality] == budget.maximum[left.item.modality]
            elif left.reason is Reason.IMAGES:
                assert sum(sent.picture is not None for sent in prompt.sent) == budget.images
            elif left.reason is Reason.DUPLICATE:
                assert left.item.id in names(prompt)
            elif left.reason is Reason.EMPTY:
                assert not left.item.text.strip()
                assert left.item.picture is None
            elif left.reason is Reason.PICTURE:
                assert left.item.picture == "bad"

    @given(some_items, some_budgets, st.sampled_from(["items", "tokens", "images"]), st.integers(1, 400))
    def test_of_a_larger_budget_the_best_document_that_differs_is_sent(
        self, items: list[PromptItem], limits: Any, name: str, more: int
    ) -> None:
        # More tokens can let a large document in that displaces two small ones below it, so the set need not grow;
        # but what comes in stands higher than what goes out.
        limits = {key: limit for key, limit in limits.items() if key not in ("minimum", name)}
        least = {"items": 3, "tokens": 200, "images": 0}[name]
        less_sent = build(items, **limits, **{name: least}).sent
        more_sent = build(items, **limits, **{name: least + more}).sent
        small = {id(sent.item): sent.picture is not None for sent in less_sent}
        large = {id(sent.item): sent.picture is not None for sent in more_sent}
        differing = [item for item in items if small.get(id(item)) != large.get(id(item))]
        if differing:
            # Sent where it was not, or sent with its picture where its words stood alone.
            first = id(differing[0])
            assert first in large
            assert large[first] or first not in small

    @given(some_items, some_budgets, st.integers(3, 8))
    def test_more_places_only_add_documents(self, items: list[PromptItem], limits: Any, places: int) -> None:
        limits = {**limits, "items": places}
        fewer = {id(sent.item) for sent in build(items, **limits).sent}
        assert fewer <= {id(sent.item) for sent in build(items, **{**limits, "items": places + 1}).sent}


def good(item: PromptItem) -> bool:
    return item.picture not in (None, "bad") or (item.picture is None and bool(item.text.strip()))


class TestChoice:
    def test_minima_first_then_the_best(self) -> None:
        items = [text("a"), text("b"), text("c"), image("d"), text("e"), image("f")]
        assert names(build(items, items=3, minimum={"image": 1})) == "abd"
        assert names(build(items, items=3, minimum={"image": 2})) == "adf"
        assert names(build(items, items=3)) == "abc"

    def test_maxima_let_the_next_one_in(self) -> None:
        items = [image("a"), image("b"), text("c"), image("d"), text("e")]
        prompt = build(items, items=3, maximum={"image": 1})
        assert (names(prompt), reasons(prompt)) == ("ace", {"b": "maximum", "d": "maximum"})

    def test_images_count_whatever_modality_their_documents_were_found_in(self) -> None:
        items = [image("a"), image("b", words="a caption", modality="table"), image("c")]
        prompt = build(items, images=1)
        assert (names(prompt), reasons(prompt)) == ("a", {"b": "images", "c": "images"})

    def test_a_passage_goes_without_its_picture_where_there_is_no_room_for_pictures(self) -> None:
        prompt = build([image("a"), image("b", words="a passage", modality="text")], images=1)
        assert names(prompt) == "ab"
        assert prompt.sent[1].picture is None
        assert prompt.sent[1].note == "the most of 1 pictures is reached"

    def test_what_costs_too_much_lets_the_next_one_in(self) -> None:
        items = [text("a", "x" * 400), text("b", "y" * 40), image("c"), text("d", "z" * 8)]
        prompt = build(items, tokens=20, image_tokens=100)
        assert (names(prompt), reasons(prompt)) == ("bd", {"a": "tokens", "c": "tokens"})
        assert prompt.left_out[0].detail == "costs at least 101 tokens, and 20 of 20 are left"

    def test_tokens_add_up(self) -> None:
        items = [text("a", "x" * 32), text("b", "y" * 32), image("c", words="z" * 16), text("d", "z" * 12)]
        prompt = build(items, tokens=24, image_tokens=5)
        assert (names(prompt), reasons(prompt)) == ("abd", {"c": "tokens"})
        assert [sent.tokens for sent in prompt.sent] == [9, 9, 4]
        assert names(build(items, tokens=21, image_tokens=5)) == "ab"
        assert names(build(items, tokens=28, image_tokens=5)) == "abc"

    def test_a_picture_is_not_read_if_the_words_alone_cost_too_much(self) -> None:
        pictures = FakePictures()
        PromptBuilder(Budget(tokens=3), pictures).build([image("a", words="x" * 400), text("b")])
        assert pictures.prepared == pictures.warmed == []

    def test_a_bad_picture_gives_its_place_to_the_next(self) -> None:
        builder = PromptBuilder(Budget(items=2, minimum={"image": 1}), FakePictures())
        with pytest.warns(SkippedImageWarning, match=r"^2 picture\(s\) left out .*document 'a' .*'bad' is .*1 more"):
            prompt = builder.build([image("a", "bad"), text("b"), image("c", "worse"), image("d"), text("e")])
        assert (names(prompt), reasons(prompt)) == ("bd", {"a": "picture", "c": "picture", "e": "items"})

    def test_a_passage_with_a_bad_picture_is_sent_as_its_words(self) -> None:
        builder = PromptBuilder(pictures=FakePictures())
        with pytest.warns(SkippedImageWarning, match="document 'a'"):
            prompt = builder.build([image("a", "bad", "a passage", "text"), image("b", "bad", "a caption")])
        assert (names(prompt), reasons(prompt)) == ("a", {"b": "picture"})
        assert prompt.sent[0].note == "the picture of document 'a' cannot be sent: 'bad' is damaged"
        assert prompt.parts == (TextPart("[1] a passage", 1),)

    def test_a_document_in_two_modalities_is_sent_from_whichever_place_there_is_room(self) -> None:
        items = [image("a", words="a caption"), image("b", words="b"), image("b", words="b", modality="text")]
        prompt = build(items, maximum={"image": 1})
        assert (names(prompt), reasons(prompt)) == ("ab", {"b": "maximum"})
        assert prompt.sent[1].item is items[2]
        assert reasons(build([items[1], items[2]])) == {"b": "duplicate"}

    def test_a_document_that_a_minimum_took_from_a_lower_place_is_not_sent_twice(self) -> None:
        items = [image("b", words="b"), image("b", words="b", modality="text")]
        prompt = build(items, minimum={"text": 1})
        assert prompt.sent[0].item is items[1]
        assert prompt.left_out[0].item is items[0]

    @pytest.mark.parametrize(
        "other",
        [text("7", "a caption"), image("7", words="a caption", modality="text"), image("7", "9x9", "", "table")],
    )
    def test_a_picture_and_something_else_of_the_same_id_are_two_documents(self, other: PromptItem) -> None:
        items = [image("7"), other]
        prompt = build(items)
        assert [sent.item for sent in prompt.sent] == items
        citations = parse_citations("the caption [2], then the picture [1]", prompt)
        assert [citation.item for citation in citations.cited] == [other, items[0]]
        assert citations.ids == ["7", "7"]

    def test_within_a_modality_an_id_is_one_document_whatever_it_holds(self) -> None:
        prompt = build([text("7", "first"), text("7", "second"), image("7"), image("7", "9x9")])
        assert [sent.text for sent in prompt.sent] == ["first", ""]
        assert [left.reason for left in prompt.left_out] == [Reason.DUPLICATE] * 2

    def test_documents_with_nothing_in_them_are_left_out(self) -> None:
        assert reasons(build([text("a", ""), text("b", " \n"), text("c")])) == {"a": "empty", "b": "empty"}

    def test_text_that_is_empty_once_made_harmless_is_not_sent_as_a_bare_label(self) -> None:
        prompt = build([text("a", "\x00\x01"), text("b")])
        assert names(prompt) == "b"

    def test_a_captioned_picture_stands_under_one_label(self) -> None:
        prompt = build([image("a", "30x20", "a caption")])
        assert prompt.parts == (TextPart("[1] a caption", 1), PicturePart(prompt.sent[0].picture, 1))

    def test_everything_is_sent_without_a_budget(self) -> None:
        items = [text(str(place)) for place in range(200)]
        assert len(build(items).sent) == 200

    def test_nothing_comes_of_nothing(self) -> None:
        prompt = build([], items=3, minimum={"text": 1}, tokens=100)
        assert (prompt.sent, prompt.left_out, prompt.parts, prompt.tokens) == ((), (), (), 0)

    def test_the_builders_own_pictures_read_no_files(self, tmp_path: Any) -> None:
        with pytest.warns(SkippedImageWarning):
            prompt = PromptBuilder().build([image("a", tmp_path / "a.png"), text("b")])
        assert names(prompt) == "b"


class TestCutting:
    def test_a_long_passage_is_cut_and_says_so(self) -> None:
        item = text("a", "one two three four")
        prompt = build([item, text("b", "one two")], item_tokens=3, text_tokens=lambda words: len(words.split()))
        assert [(sent.text, sent.cut) for sent in prompt.sent] == [("one two …", True), ("one two", False)]
        assert prompt.sent[0].tokens == 4  # and the label
        assert prompt.sent[0].item.text == "one two three four"

    def test_cut_passages_leave_room_for_others(self) -> None:
        items = [text(name, "word " * 1000) for name in "abc"]
        assert names(build(items, tokens=330)) == ""
        assert names(build(items, tokens=330, item_tokens=100)) == "abc"

    def test_a_passage_of_which_nothing_fits_is_left_out(self) -> None:
        prompt = build([text("a", "long"), image("b", words="long")], item_tokens=1, text_tokens=len, image_tokens=0)
        assert reasons(prompt) == {"a": "tokens"}
        assert "item_tokens=1" in prompt.left_out[0].detail
        assert (prompt.sent[0].text, prompt.sent[0].cut) == ("", True)
        assert prompt.parts[0] == TextPart("[1]", 1)


class TestFunctionsOfTheUser:
    def test_both_are_asked(self) -> None:
        items = [text("a", "one two"), image("b", "30x20")]
        prompt = build(items, text_tokens=str.split, image_tokens=lambda width, height: width / height)
        assert [sent.tokens for sent in prompt.sent] == [3, 1 + 2]

    def test_an_address_counts_as_the_dearest_picture(self) -> None:
        prompt = build([image("a", "http://a.b/c.png")], image_tokens="gpt-4o", text_tokens=lambda words: 0)
        assert prompt.tokens == 85 + 8 * 170

    def test_a_wrong_number_of_tokens_is_told(self) -> None:
        with pytest.raises(InvalidInputError, match="text_tokens must give a number"):
            build([text("a")], text_tokens=lambda words: None)


class TestPictures:
    def test_pictures_that_are_likely_sent_are_prepared_side_by_side(self) -> None:
        pictures = FakePictures()
        items = [image("a", "1x1"), image("b", "2x2"), text("c"), image("d", "3x3"), image("e", "4x4")]
        PromptBuilder(Budget(items=4, images=2), pictures).build(items)
        assert pictures.warmed == ["1x1", "2x2"]

    def test_tokens_bound_what_is_prepared_ahead(self) -> None:
        pictures = FakePictures()
        items = [image(str(place), f"{place}x{place}") for place in range(1, 50)]
        PromptBuilder(Budget(tokens=1000, image_tokens=300), pictures).build(items)
        assert pictures.warmed == ["1x1", "2x2", "3x3"]

    def test_a_picture_is_asked_for_once(self) -> None:
        pictures = FakePictures()
        items = [image("a", "1x1"), image("b", "2x2"), image("c", "3x3")]
        PromptBuilder(Budget(minimum={"image": 2}), pictures).build(items)
        assert pictures.prepared == ["1x1", "2x2", "3x3"]

    def test_what_is_sent_is_what_was_prepared(self) -> None:
        picture = build([image("a", "30x20")]).sent[0].picture
        assert (picture.content, picture.mime_type, picture.width, picture.height) == (b"30x20", "image/png", 30, 20)
        assert picture.data_uri == "data:image/png;base64,MzB4MjA="
        assert PreparedPicture(url="http://a.b/c").data_uri == "http://a.b/c"

    def test_other_errors_are_not_swallowed(self) -> None:
        class Broken(FakePictures):
            def prepare(self, picture: Any) -> PreparedPicture:
                raise MemoryError

        with pytest.raises(MemoryError):
            PromptBuilder(pictures=Broken()).build([image("a")])


async def test_the_event_loop_goes_on_while_a_prompt_is_built() -> None:
    class Waiting(FakePictures):
        def prepare(self, picture: Any) -> PreparedPicture:
            asyncio.run_coroutine_threadsafe(going_on(), loop).result(30)
            return super().prepare(picture)

    async def going_on() -> None:
        """Done only if the loop is free."""

    loop = asyncio.get_running_loop()
    prompt = await PromptBuilder(pictures=Waiting()).abuild(item for item in [text("a"), image("b")])
    assert names(prompt) == "ab"


@settings(max_examples=20)
@given(some_items)
def test_errors_of_pictures_become_warnings_and_nothing_else(items: list[PromptItem]) -> None:
    builder = PromptBuilder(pictures=FakePictures())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prompt = builder.build(items)
    told = any(left.reason is Reason.PICTURE for left in prompt.left_out) or any(sent.note for sent in prompt.sent)
    assert [warning.category for warning in caught] == [SkippedImageWarning] * told


def test_the_fake_refuses_what_it_should() -> None:
    with pytest.raises(ImageError):
        FakePictures().prepare("bad")
