"""The questions that the answerer is trained on: about what an item shows, and about what it does not."""

from __future__ import annotations

import random
from collections.abc import Sequence

from commonscale.demo.facts import COLOR, COUNT, KINDS, POSITION, THING, UNKNOWN, Fact, fact_of, falsified, plural
from commonscale.demo.scenes import Scene
from commonscale.demo.wording import question

HERE = "here"
"""The answer to a question that asks for a whole scene, such as "Where are there two red cars above a moon?"."""

WHOLE = "whole"
"""The kind of such a question."""

ELSEWHERE = 0.07
"""Share of the questions that are about a scene that has nothing to do with the item's."""

FOREIGN = 0.03
"""Share of the questions that are about nothing in the drawn world."""

SETTING_NAMED = 0.75
WHOLE_SHARE = 0.12
SHORT_SHARE = 0.33
"""Share of the questions that name one group only, such as "What color are the fish?": they are learned first."""

_ASKED = (COLOR, *2 * (COUNT, THING, POSITION))
"""Kinds of facts as often as they are asked for; color is learned with half as many questions."""

_FOREIGN_WORDS = ("what", "where", "is", "the", "a", "of", "red", "who", "xylograph", "zugzwang", "quark", "painted")


def ask_about(
    scene: Scene,
    others: Sequence[Scene],
    rng: random.Random,
    *,
    mismatched: float = 0.20,
    changes: Sequence[int] = (1, 2, 3),
) -> tuple[str, str]:
    """Ask something about a scene, or something that it does not show.

    Args:
        scene: what the item shows.
        others: scenes to ask about instead.
        rng: picks kind and wording, and whether the scene shows what is asked about.
        mismatched: share of the questions that are about another scene than the item shows, `ELSEWHERE` included.
        changes: in how many things such a question differs from the scene, one picked for each.

    Returns:
        The question, and its answer by this scene.
    """
    chance = rng.random()
    if chance > 1 - FOREIGN:
        return _foreign(rng), UNKNOWN
    about = rng.choice(others) if chance < ELSEWHERE else scene
    changed = rng.choice(changes) if ELSEWHERE <= chance < mismatched else 0
    form = rng.random()
    if form < WHOLE_SHARE:
        return _ask_for_whole(scene, about, changed, rng)
    if form < WHOLE_SHARE + SHORT_SHARE:
        return _ask_shortly(scene, about, changed, rng)
    fact = fact_of(about, rng.choice(_ASKED), rng.randrange(2), setting=rng.random() < SETTING_NAMED)
    fact = _changed(fact, changed, rng)
    return fact.question(rng), fact.answer if fact.matches(scene) else UNKNOWN


def _ask_for_whole(scene: Scene, about: Scene, changes: int, rng: random.Random) -> tuple[str, str]:
    if changes:
        fact = _changed(fact_of(about, rng.choice(KINDS), 0, setting=False), changes, rng)
        about = _scene_of(fact, about)
    return question(about, rng), HERE if about.key == scene.key else UNKNOWN


def _ask_shortly(scene: Scene, about: Scene, changes: int, rng: random.Random) -> tuple[str, str]:
    """Ask about one group without naming the other."""
    fact = _changed(fact_of(about, rng.choice(_ASKED), rng.randrange(2), setting=False), changes, rng)
    kind, target = fact.kind, fact.target
    if kind == THING and target.color == fact.other.color:
        kind = COLOR
    noun = plural(target.thing) if target.count > 1 else target.thing
    be = "is" if target.count == 1 else "are"
    known = rng.random() < 0.5
    question, named = {
        COLOR: (f"What color {be} the {noun}?", (None, None, target.thing)),
        COUNT: (
            f"How many {f'{target.color} ' if known else ''}{plural(target.thing)} are there?",
            (None, target.color if known else None, target.thing),
        ),
        THING: (f"What is {target.color}?", (None, target.color, None)),
        POSITION: (f"Where {be} the {noun}?", (None, None, target.thing)),
    }[kind]
    for half in (0, 1):
        shown = fact_of(scene, kind, half, setting=False)
        values = (shown.target.count, shown.target.color, shown.target.thing)
        if all(name in (None, value) for name, value in zip(named, values, strict=True)):
            return question, shown.answer
    return question, UNKNOWN


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
