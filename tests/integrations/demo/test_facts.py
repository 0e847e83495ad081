from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("PIL")
pytest.importorskip("torch")
pytest.importorskip("faiss")

from commonscale.demo import build_world
from commonscale.demo.answers import fact_questions
from commonscale.demo.facts import COLOR, COUNT, KINDS, POSITION, THING, Fact, fact_of, falsified
from commonscale.demo.scenes import Group, Scene, random_scene

WORLD = build_world()
ASKED = fact_questions(WORLD)
SCENE = Scene(Group(4, "blue", "umbrella"), Group(3, "purple", "fish"), "above", "beach", 0)
BESIDE = Scene(Group(1, "orange", "cup"), Group(2, "red", "mushroom"), "left", "night", 0)
seeds = st.integers(0, 2**32).map(random.Random)


def test_each_kind_leaves_one_thing_out_and_names_the_rest() -> None:
    asked = {kind: fact_of(SCENE, kind, 1, setting=True) for kind in KINDS}
    assert {kind: (fact.question(), fact.answer) for kind, fact in asked.items()} == {
        COLOR: ("What color are the three fish below four blue umbrellas on sand?", "purple"),
        COUNT: ("How many purple fish are there below four blue umbrellas on sand?", "three"),
        THING: ("Which three purple things do I see below four blue umbrellas on sand?", "fish"),
        POSITION: ("On which side of four blue umbrellas are three purple fish on sand?", "below"),
    }


def test_one_thing_is_asked_for_in_the_singular() -> None:
    asked = {kind: fact_of(BESIDE, kind, 0, setting=False) for kind in KINDS}
    assert {kind: (fact.question(), fact.answer) for kind, fact in asked.items()} == {
        COLOR: ("What color is the cup to the left of two red mushrooms?", "orange"),
        COUNT: ("How many orange cups are there to the left of two red mushrooms?", "one"),
        THING: ("Which orange thing do I see to the left of two red mushrooms?", "cup"),
        POSITION: ("On which side of two red mushrooms is an orange cup?", "left"),
    }


def test_exactly_one_scene_of_the_corpus_matches_each_question() -> None:
    scenes = [entry.scene for entry in WORLD.entries]
    for asked in ASKED:
        assert [scene for scene in scenes if asked.fact.matches(scene)] == [asked.entry.scene]


def test_nearly_every_scene_is_asked_about_in_every_way_and_alike_every_time() -> None:
    assert len(ASKED) > 0.99 * len(KINDS) * len(WORLD.entries)
    assert len({asked.question for asked in ASKED}) == len(ASKED)
    assert fact_questions(WORLD) == ASKED


def test_a_question_does_not_hold_its_answer() -> None:
    for asked in ASKED:
        other = {asked.fact.other.color, asked.fact.setting}
        if asked.fact.answer not in other and asked.fact.kind in (COLOR, THING, POSITION):
            assert asked.fact.answer not in re.findall(r"[a-z]+", asked.question.lower())


@given(seeds, st.sampled_from(KINDS), st.sampled_from((0, 1)), st.booleans())
def test_a_fact_matches_its_scene_and_a_falsified_one_does_not(
    rng: random.Random, kind: str, half: int, setting: bool
) -> None:
    scene = random_scene(rng)
    fact = fact_of(scene, kind, half, setting=setting)
    other = falsified(fact, rng)
    assert fact.matches(scene)
    assert not other.matches(scene)
    assert other.kind == kind
    assert other.target.thing != other.other.thing
    assert other.question() != fact.question()


@given(seeds, st.sampled_from(KINDS))
def test_the_answer_is_not_part_of_what_must_match(rng: random.Random, kind: str) -> None:
    fact = fact_of(random_scene(rng), kind, 0, setting=True)
    answers = {
        COLOR: [("target", Group(fact.target.count, color, fact.target.thing)) for color in ("red", "blue")],
        COUNT: [("target", Group(count, fact.target.color, fact.target.thing)) for count in (1, 4)],
        THING: [("target", Group(fact.target.count, fact.target.color, thing)) for thing in ("cup", "car")],
        POSITION: [("direction", direction) for direction in ("above", "right")],
    }[kind]
    changed = [Fact(**{**vars(fact), name: value}) for name, value in answers]
    assert {each.named for each in changed} == {fact.named}
