"""The questions that the answerer is trained on: about what an item shows, and about what it does not."""

from __future__ import annotations

import random
from collections.abc import Sequence

from commonscale.demo.facts import KINDS, UNKNOWN, Fact, fact_of, falsified
from commonscale.demo.scenes import Scene
from commonscale.demo.wording import question

HERE = "here"
"""The answer to a question that asks for a whole scene, such as "Where are there two red cars above a moon?"."""

WHOLE = "whole"
"""The kind of such a question."""

MISMATCHED = 0.28
"""Share of the questions that are about another scene than the item shows; most differ in one thing only."""

ELSEWHERE = 0.07
"""Part of that share whose questions are about a scene that has nothing to do with the item's."""

FOREIGN = 0.03
"""Share of the questions that are about nothing in the drawn world."""

SETTING_NAMED = 0.75

_FOREIGN_WORDS = ("what", "where", "is", "the", "a", "of", "red", "who", "xylograph", "zugzwang", "quark", "painted")


def ask_about(scene: Scene, others: Sequence[Scene], rng: random.Random) -> tuple[str, str]:
    """Ask something about a scene, or something that it does not show.

    Args:
        scene: what the item shows.
        others: scenes to ask about instead.
        rng: picks kind and wording, and whether the scene shows what is asked about.

    Returns:
        The question, and its answer by this scene.
    """
    chance = rng.random()
    if chance > 1 - FOREIGN:
        return _foreign(rng), UNKNOWN
    about = rng.choice(others) if chance < ELSEWHERE else scene
    changes = rng.choice((1, 1, 2)) if ELSEWHERE <= chance < MISMATCHED else 0
    if rng.random() < 0.15:
        return _ask_for_whole(scene, about, changes, rng)
    fact = fact_of(about, rng.choice(KINDS), rng.randrange(2), setting=rng.random() < SETTING_NAMED)
    fact = _changed(fact, changes, rng)
    return fact.question(rng), fact.answer if fact.matches(scene) else UNKNOWN


def _ask_for_whole(scene: Scene, about: Scene, changes: int, rng: random.Random) -> tuple[str, str]:
    if changes:
        fact = _changed(fact_of(about, rng.choice(KINDS), 0, setting=False), changes, rng)
        about = _scene_of(fact, about)
    return question(about, rng), HERE if about.key == scene.key else UNKNOWN


def _changed(fact: Fact, changes: int, rng: random.Random) -> Fact:
    for _ in range(changes):
        fact = falsified(fact, rng)
    return fact


def _scene_of(fact: Fact, like: Scene) -> Scene:
    """Make the scene that a fact is about, in the setting of another one."""
    groups = (fact.target, fact.other) if fact.direction in ("above", "left") else (fact.other, fact.target)
    relation = "above" if fact.direction in ("above", "below") else "left"
    return Scene(*groups, relation, like.setting, like.placement)


def _foreign(rng: random.Random) -> str:
    """Make a question of which the drawn world knows a few words at most."""
    words = [rng.choice(_FOREIGN_WORDS) for _ in range(rng.randrange(2, 10))]
    return " ".join(words) + rng.choice(("?", "", "!"))
