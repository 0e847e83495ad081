"""Scenes of the drawn world: what stands where, before anybody draws it or writes about it.

A scene has two groups of things (how many, which color, which thing), one of them above the other or to the left
of the other, in a setting (night, beach, ...). Everything is sampled from one seeded `random.Random`, so the same
seed gives the same scenes on every machine and in every process.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

THINGS = ("house", "boat", "tree", "flower", "fish", "umbrella", "mushroom", "cup", "car", "moon")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
COUNTS = (1, 2, 3, 4)
RELATIONS = ("above", "left")
SETTINGS = ("night", "beach", "snow", "meadow", "dusk")

SceneKey = tuple["Group", "Group", str]


@dataclass(frozen=True)
class Group:
    """Hold one to four equal things of one color."""

    count: int
    color: str
    thing: str


@dataclass(frozen=True)
class Scene:
    """Hold two groups, how they stand to each other, the setting, and a seed for small offsets in the picture.

    Attributes:
        first: The upper group (`relation` is "above") or the left one (`relation` is "left").
        second: The lower or the right group; always another thing than the first one.
        relation: "above" or "left".
        setting: One of `SETTINGS`.
        placement: Seed of the jitter with which the things are placed; not part of what the scene says.
    """

    first: Group
    second: Group
    relation: str
    setting: str
    placement: int

    @property
    def key(self) -> SceneKey:
        """What tells one scene from another: two groups and their relation, whatever the setting and the jitter."""
        return (self.first, self.second, self.relation)


def _group(rng: random.Random, things: tuple[str, ...]) -> Group:
    return Group(rng.choice(COUNTS), rng.choice(COLORS), rng.choice(things))


def random_scene(rng: random.Random) -> Scene:
    """Draw one scene at random.

    Args:
        rng: The source of every choice.

    Returns:
        A scene whose two groups are different things.
    """
    first = _group(rng, THINGS)
    second = _group(rng, tuple(thing for thing in THINGS if thing != first.thing))
    return Scene(first, second, rng.choice(RELATIONS), rng.choice(SETTINGS), rng.randrange(2**31))


def distinct_scenes(count: int, rng: random.Random, *, excluded: Collection[SceneKey] = ()) -> list[Scene]:
    """Draw scenes no two of which have the same key.

    There are 184,320 keys, so a few tens of thousands are found quickly.

    Args:
        count: How many scenes to draw.
        rng: The source of every choice.
        excluded: Keys that must not appear.

    Returns:
        `count` scenes with `count` different keys, none of them in `excluded`.
    """
    seen = set(excluded)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = random_scene(rng)
        if scene.key not in seen:
            seen.add(scene.key)
            scenes.append(scene)
    return scenes
