from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import Quotas
from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import first_of_each, select

MODALITIES = ("text", "image", "sound")
Item = tuple[str, float]

items = st.lists(st.tuples(st.sampled_from(MODALITIES), st.integers(0, 20).map(float)), max_size=8).map(
    lambda drawn: sorted(drawn, key=lambda item: -item[1])
)
limits = st.dictionaries(st.sampled_from(MODALITIES), st.integers(0, 3))


def choose(ranked: list[Item], k: int, quotas: Quotas) -> list[Item]:
    return select(ranked, k, quotas, lambda item: item[0])


def counts(chosen: list[Item]) -> dict[str, int]:
    return {m: sum(item[0] == m for item in chosen) for m in MODALITIES}


def allowed(ranked: list[Item], quotas: Quotas, chosen: list[Item]) -> bool:
    has, there = counts(chosen), counts(ranked)
    return all(has[m] <= n for m, n in quotas.maximum.items()) and all(
        has[m] >= min(n, there[m]) for m, n in quotas.minimum.items()
    )


def test_without_quotas_the_best_come_first() -> None:
    ranked = [("text", 3.0), ("image", 2.0), ("text", 1.0)]
    assert choose(ranked, 2, Quotas()) == ranked[:2]


def test_a_minimum_brings_up_lower_hits_in_ranked_order() -> None:
    ranked = [("text", 4.0), ("text", 3.0), ("text", 2.0), ("image", 1.0), ("image", 0.0)]
    assert choose(ranked, 3, Quotas(minimum={"image": 2})) == [ranked[0], ranked[3], ranked[4]]


def test_a_maximum_may_leave_places_empty() -> None:
    ranked = [("text", 4.0), ("text", 3.0), ("image", 1.0)]
    assert choose(ranked, 3, Quotas(maximum={"text": 1})) == [ranked[0], ranked[2]]
    assert choose(ranked, 3, Quotas(maximum={"text": 0})) == [ranked[2]]


@given(items, st.integers(1, 6), limits, limits)
def test_no_other_allowed_choice_is_better_anywhere(
    ranked: list[Item], k: int, minimum: dict[str, int], maximum: dict[str, int]
) -> None:
    if sum(minimum.values()) > k or any(minimum.get(m, 0) > n for m, n in maximum.items()):
        return
    quotas = Quotas(minimum, maximum)
    chosen = choose(ranked, k, quotas)
    assert allowed(ranked, quotas, chosen)
    assert chosen == sorted(chosen, key=lambda item: -item[1])
    scores = [score for _, score in chosen]
    for size in range(1, min(k, len(ranked)) + 1):
        for other in itertools.combinations(ranked, size):
            if allowed(ranked, quotas, list(other)):
                assert size <= len(chosen)
                assert all(theirs <= ours for (_, theirs), ours in zip(other, scores, strict=False))


@pytest.mark.parametrize(
    ("minimum", "maximum", "message"),
    [
        ({"text": -1}, {}, r"minimum\['text'\] must be an integer >= 0, got -1"),
        ({}, {"text": 1.5}, r"maximum\['text'\] must be an integer >= 0, got 1.5"),
        ({}, {"text": True}, r"got True"),
        ({"text": 3}, {"text": 2}, r"minimum\['text'\] is 3, above its maximum of 2"),
    ],
)
def test_impossible_quotas(minimum: dict[str, int], maximum: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Quotas(minimum, maximum)


def test_quotas_that_do_not_fit_the_search() -> None:
    with pytest.raises(InvalidInputError, match="add up to 4, more than the 3 hits"):
        Quotas({"text": 2, "image": 2}).check(3)
    with pytest.raises(InvalidInputError, match=r"unknown modality 'images'; there are \['text', 'image'\]"):
        Quotas({"images": 1}).check(3, ["text", "image"])


def test_first_of_each_keeps_the_best() -> None:
    assert first_of_each(["b1", "a1", "b2"], key=lambda item: item[0]) == ["b1", "a1"]
