"""Questions about one fact of a scene: its question names everything but that, in the words of all other questions.

"How many blue umbrellas are there above three purple fish on sand?" leaves out how many; the other kinds leave out a
color, a thing, or where one group stands from the other. Whatever shows exactly this scene answers it; of anything
else the honest answer is `UNKNOWN`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from commonscale.demo.scenes import COLORS, COUNTS, SETTINGS, THINGS, Group, Scene
from commonscale.demo.wording import QUESTION_COUNTS, QUESTION_PLURALS, QUESTION_SETTINGS, question_phrase

T = TypeVar("T")

COLOR, COUNT, THING, POSITION = "color", "count", "thing", "position"
KINDS = (COLOR, COUNT, THING, POSITION)
UNKNOWN = "unknown"
"""What an item answers that does not show the scene asked about."""

ANSWER_COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
DIRECTIONS = {("above", 0): "above", ("above", 1): "below", ("left", 0): "left", ("left", 1): "right"}
"""Where a half of a scene (0: upper or left) stands from the other half, by the scene's relation."""

WHERE = {"above": "above", "below": "below", "left": "to the left of", "right": "to the right of"}

# {t} is the group asked about without what is asked, {o} the other group, {w} where, {s} the setting or nothing.
FACT_TEMPLATES = {
    COLOR: ("What color {be} the {t} {w} {o}{s}?", "Which color {be} the {t} {w} {o}{s}?"),
    COUNT: ("How many {t} are there {w} {o}{s}?", "How many {t} do I see {w} {o}{s}?"),
    THING: ("Which {t} do I see {w} {o}{s}?", "What {be} the {t} {w} {o}{s}?"),
    POSITION: ("On which side of {o} {be} {t}{s}?", "Where {be} {t} seen from {o}{s}?"),
}


@dataclass(frozen=True)
class Fact:
    """Hold what a question is about: two groups, where the first stands from the second, and what is left out.

    Attributes:
        kind: One of `KINDS`: what the question leaves out, and what its answer says.
        target: The group asked about.
        other: The other group.
        direction: Where the target stands from the other: "above", "below", "left" or "right".
        setting: The setting, None where the question does not name it.
    """

    kind: str
    target: Group
    other: Group
    direction: str
    setting: str | None

    @property
    def answer(self) -> str:
        """What the question leaves out, in a word."""
        return {
            COLOR: self.target.color,
            COUNT: ANSWER_COUNTS[self.target.count],
            THING: _noun(self.target),
            POSITION: self.direction,
        }[self.kind]

    @property
    def named(self) -> tuple[object, ...]:
        """Everything that the question names, and None in the place of what it does not."""
        target = (self.target.count, self.target.color, self.target.thing)
        asked = {COUNT: 0, COLOR: 1, THING: 2}.get(self.kind)
        shown = tuple(None if place == asked else value for place, value in enumerate(target))
        return (*shown, self.other, None if self.kind == POSITION else self.direction, self.setting)

    def matches(self, scene: Scene) -> bool:
        """Say whether a scene is one that the question can be about."""
        return any(
            fact_of(scene, self.kind, half, setting=self.setting is not None).named == self.named for half in (0, 1)
        )

    def question(self, rng: random.Random | None = None) -> str:
        """Put the fact into words.

        Args:
            rng: Picks the wording; None takes the first one.

        Returns:
            One English question.
        """
        templates = FACT_TEMPLATES[self.kind]
        template = templates[0] if rng is None else rng.choice(templates)
        be = "is" if self.target.count == 1 else "are"
        setting = "" if self.setting is None else f" {QUESTION_SETTINGS[self.setting]}"
        return template.format(
            t=self._target(), o=question_phrase(self.other), w=WHERE[self.direction], s=setting, be=be
        )

    def _target(self) -> str:
        """Name the group asked about without what is asked."""
        group = self.target
        several = "" if group.count == 1 else f"{QUESTION_COUNTS[group.count]} "
        return {
            COLOR: f"{several}{_noun(group)}",
            COUNT: f"{group.color} {plural(group.thing)}",
            THING: f"{several}{group.color} {'thing' if group.count == 1 else 'things'}",
            POSITION: question_phrase(group),
        }[self.kind]


def fact_of(scene: Scene, kind: str, half: int, *, setting: bool) -> Fact:
    """Take one fact of a scene.

    Args:
        scene: The scene.
        kind: One of `KINDS`.
        half: 0 asks about the upper or left group, 1 about the other one.
        setting: Whether the question names the setting.

    Returns:
        The fact, whose answer is right for this scene.
    """
    groups = (scene.first, scene.second)
    direction = DIRECTIONS[scene.relation, half]
    return Fact(kind, groups[half], groups[1 - half], direction, scene.setting if setting else None)


def falsified(fact: Fact, rng: random.Random) -> Fact:
    """Change one thing that a question names, so that it is about another scene.

    Args:
        fact: The fact.
        rng: Picks what is changed, and to what.

    Returns:
        A fact of the same kind that no scene matches which the given one matches.
    """
    target, other = fact.target, fact.other
    things = [target.thing, other.thing]
    changes = [
        replace(fact, other=replace(other, count=_another(COUNTS, [other.count], rng))),
        replace(fact, other=replace(other, color=_another(COLORS, [other.color], rng))),
        replace(fact, other=replace(other, thing=_another(THINGS, things, rng))),
    ]
    if fact.kind != COUNT:
        changes.append(replace(fact, target=replace(target, count=_another(COUNTS, [target.count], rng))))
    if fact.kind != COLOR:
        changes.append(replace(fact, target=replace(target, color=_another(COLORS, [target.color], rng))))
    if fact.kind != THING:
        changes.append(replace(fact, target=replace(target, thing=_another(THINGS, things, rng))))
    if fact.kind != POSITION:
        changes.append(replace(fact, direction=_another(tuple(WHERE), [fact.direction], rng)))
    if fact.setting is not None:
        changes.append(replace(fact, setting=_another(SETTINGS, [fact.setting], rng)))
    return rng.choice(changes)


def facts_about(scene: Scene, scenes: Sequence[Scene], rng: random.Random) -> tuple[Fact, ...]:
    """Ask one question of each kind about a scene that none other of some scenes can be the answer to.

    Args:
        scene: The scene asked about, one of ``scenes``.
        scenes: All scenes of the corpus.
        rng: Picks the group that is asked about.

    Returns:
        At most one fact of each kind, in the order of `KINDS`; a kind that another scene would answer too is not asked.
    """
    facts = []
    for kind in KINDS:
        fact = fact_of(scene, kind, rng.randrange(2), setting=True)
        if sum(fact.matches(each) for each in scenes) == 1:
            facts.append(fact)
    return tuple(facts)


def _noun(group: Group) -> str:
    return group.thing if group.count == 1 else plural(group.thing)


def plural(thing: str) -> str:
    """Name several of a thing."""
    return QUESTION_PLURALS.get(thing, thing + "s")


def _another(values: Sequence[T], but: Collection[T], rng: random.Random) -> T:
    return rng.choice([value for value in values if value not in but])
