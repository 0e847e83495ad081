"""Put a scene into words: as a question, and as a passage that shares no content word with that question.

Questions and passages have vocabularies of their own: where a question says "three red houses above a boat", a
passage says "a trio of crimson cottages hovers over a lone ship". Only the little words of English ("a", "the", "of")
are common to both, so matching a passage takes meaning and not letters.
"""

from __future__ import annotations

import random

from commonscale.demo.scenes import Group, Scene

QUESTION_COUNTS = {1: "a", 2: "two", 3: "three", 4: "four"}
QUESTION_PLURALS = {"fish": "fish"}
QUESTION_SETTINGS = {
    "night": "at night",
    "beach": "on sand",
    "snow": "in the snow",
    "meadow": "on a meadow",
    "dusk": "at sunset",
}
PASSAGE_COUNTS = {
    1: ("a lone", "a single", "one solitary"),
    2: ("a pair of", "a couple of"),
    3: ("a trio of", "a threesome of"),
    4: ("a quartet of", "a foursome of"),
}
PASSAGE_COLORS = {
    "red": ("crimson", "scarlet"),
    "orange": ("tangerine", "amber"),
    "yellow": ("golden", "lemon"),
    "green": ("emerald", "leafy"),
    "blue": ("azure", "sapphire"),
    "purple": ("violet", "lilac"),
    "pink": ("rosy", "salmon"),
    "brown": ("chestnut", "chocolate"),
}
PASSAGE_THINGS = {
    "house": ("cottage", "cabin"),
    "boat": ("ship", "yacht"),
    "tree": ("fir", "pine"),
    "flower": ("blossom", "daisy"),
    "fish": ("trout", "herring"),
    "umbrella": ("parasol", "sunshade"),
    "mushroom": ("toadstool", "fungus"),
    "cup": ("mug", "beaker"),
    "car": ("automobile", "vehicle"),
    "moon": ("crescent", "lunar sickle"),
}
PASSAGE_PLURALS = {"daisy": "daisies", "trout": "trout", "herring": "herring", "fungus": "fungi"}
PASSAGE_SETTINGS = {
    "night": ("after dark", "beneath a starless heaven"),
    "beach": ("along the dunes", "by the seaside"),
    "snow": ("amid winter white", "during a frost"),
    "meadow": ("among the grass", "out in the pasture"),
    "dusk": ("as evening falls", "in the last light"),
}

# {0} is the first group (upper or left), {1} the second one, {2} the setting or nothing.
QUESTION_TEMPLATES = {
    "above": (
        "Where are there {0} above {1}{2}?",
        "Which scene shows {0} above {1}{2}?",
        "Is there somewhere with {1} below {0}{2}?",
        "Can you find {0} with {1} below{2}?",
        "Where do I see {1} below {0}{2}?",
        "What place has {0} above {1}{2}?",
    ),
    "left": (
        "Where are there {0} to the left of {1}{2}?",
        "Which scene shows {0} left of {1}{2}?",
        "Is there somewhere with {1} to the right of {0}{2}?",
        "Can you find {0} with {1} to the right{2}?",
        "Where do I see {1} right of {0}{2}?",
        "What place has {0} on the left and {1} on the right{2}?",
    ),
}
PASSAGE_TEMPLATES = {
    "above": (
        "{S}, {0} hovered over {1}.",
        "{A} hung over {1} {s}.",
        "{B} rested underneath {0} {s}.",
        "{S}, {1} rested at the bottom, {0} at the top.",
        "The upper half belonged to {0}, the lower half to {1}, {s}.",
        "{S}, looking up from {1}, people noticed {0}.",
    ),
    "left": (
        "{S}, {0} stood to the west of {1}.",
        "{A} stood westward from {1} {s}.",
        "{B} waited to the east of {0} {s}.",
        "{S}, reading along the row, {0} came first and {1} came last.",
        "The western half belonged to {0}, the eastern half to {1}, {s}.",
        "{S}, people walking east passed {0}, then {1}.",
    ),
}


def question_phrase(group: Group) -> str:
    """Name a group in the questions' words, such as "three red houses" or "an orange cup"."""
    if group.count == 1:
        article = "an" if group.color[0] in "aeiou" else "a"
        return f"{article} {group.color} {group.thing}"
    plural = QUESTION_PLURALS.get(group.thing, group.thing + "s")
    return f"{QUESTION_COUNTS[group.count]} {group.color} {plural}"


def passage_phrase(group: Group, rng: random.Random) -> str:
    """Name a group in the passages' words, such as "a trio of crimson cottages"."""
    noun = rng.choice(PASSAGE_THINGS[group.thing])
    if group.count > 1:
        noun = PASSAGE_PLURALS.get(noun, noun + "s")
    return f"{rng.choice(PASSAGE_COUNTS[group.count])} {rng.choice(PASSAGE_COLORS[group.color])} {noun}"


def question(scene: Scene, rng: random.Random) -> str:
    """Ask for a scene.

    Args:
        scene: The scene that is the answer.
        rng: Picks the wording; in half of the questions it leaves the setting out.

    Returns:
        One English question.
    """
    setting = f" {QUESTION_SETTINGS[scene.setting]}" if rng.random() < 0.5 else ""
    template = rng.choice(QUESTION_TEMPLATES[scene.relation])
    return template.format(question_phrase(scene.first), question_phrase(scene.second), setting)


def passage(scene: Scene, rng: random.Random) -> str:
    """Tell about a scene in one sentence that has no content word in common with any question about it.

    Args:
        scene: The scene to tell about.
        rng: Picks the wording.

    Returns:
        One English sentence.
    """
    first, second = passage_phrase(scene.first, rng), passage_phrase(scene.second, rng)
    setting = rng.choice(PASSAGE_SETTINGS[scene.setting])
    template = rng.choice(PASSAGE_TEMPLATES[scene.relation])
    return template.format(first, second, A=_capital(first), B=_capital(second), S=_capital(setting), s=setting)


def describe(scene: Scene) -> str:
    """Say in the questions' words what a picture shows, for those who cannot see it."""
    where = "above" if scene.relation == "above" else "to the left of"
    setting = QUESTION_SETTINGS[scene.setting]
    return f"{question_phrase(scene.first)} {where} {question_phrase(scene.second)} {setting}"


def _capital(phrase: str) -> str:
    return phrase[0].upper() + phrase[1:]
