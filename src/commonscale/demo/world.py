"""The drawn world: what the corpus knows, what is asked of it, and what the scale is learned from."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.demo.scenes import Scene, SceneKey, distinct_scenes
from commonscale.demo.wording import passage, question

WORLD_SEED = 20260
PICTURED_SCENES = 180
WRITTEN_SCENES = 180
CALIBRATION_QUESTIONS = 300
PASSAGES_PER_SCENE = (1, 2, 3)


@dataclass(frozen=True)
class Entry:
    """Hold one scene of the corpus, known by its picture or by its passages, never by both.

    Attributes:
        id: Name of the scene in the corpus.
        scene: What is to be seen.
        modality: `IMAGE` when the corpus has the picture, `TEXT` when it has passages.
        passages: The passages, empty for a pictured scene.
        question: The question whose answer this scene is.
    """

    id: str
    scene: Scene
    modality: Modality
    passages: tuple[str, ...]
    question: str

    @property
    def documents(self) -> tuple[str, ...]:
        """Ids of what the corpus holds of this scene: one picture, or one id for each passage."""
        if self.modality == IMAGE:
            return (f"{self.id}/picture",)
        return tuple(f"{self.id}/passage-{number}" for number in range(1, len(self.passages) + 1))


@dataclass(frozen=True)
class World:
    """Hold the corpus with its questions, and the calibration questions, which are about other scenes.

    Attributes:
        entries: The scenes of the corpus, pictured and written ones in turn.
        calibration_scenes: Scenes that are nowhere in the corpus.
        calibration_questions: One question about each of them; nobody says what would answer it.
    """

    entries: tuple[Entry, ...]
    calibration_scenes: tuple[Scene, ...]
    calibration_questions: tuple[str, ...]

    @property
    def keys(self) -> frozenset[SceneKey]:
        """Keys of every scene that is used here, which training must therefore not see."""
        scenes = [*(entry.scene for entry in self.entries), *self.calibration_scenes]
        return frozenset(scene.key for scene in scenes)

    @property
    def passages(self) -> dict[str, str]:
        """Every passage of the corpus by document id."""
        return {
            key: passage
            for entry in self.of(TEXT)
            for key, passage in zip(entry.documents, entry.passages, strict=True)
        }

    def scene_of(self, document: str) -> Scene:
        """Return the scene that a document of the corpus is about.

        Raises:
            KeyError: if the corpus has no such document.
        """
        return {key: entry.scene for entry in self.entries for key in entry.documents}[document]

    def of(self, modality: Modality) -> tuple[Entry, ...]:
        """Return the entries known in one modality."""
        return tuple(entry for entry in self.entries if entry.modality == modality)


@cache
def build_world(seed: int = WORLD_SEED) -> World:
    """Build the world from one seed.

    No two scenes of the world, the calibration scenes included, have the same key, so a question that names both
    groups and their relation has exactly one right scene.

    Args:
        seed: The same seed gives the same world in every process.

    Returns:
        The world; it is immutable, so one copy is kept for each seed.
    """
    rng = random.Random(seed)
    in_corpus = PICTURED_SCENES + WRITTEN_SCENES
    scenes = distinct_scenes(in_corpus + CALIBRATION_QUESTIONS, rng)
    entries = tuple(_entry(number, scene, rng) for number, scene in enumerate(scenes[:in_corpus]))
    others = tuple(scenes[in_corpus:])
    return World(entries, others, tuple(question(scene, rng) for scene in others))


def _entry(number: int, scene: Scene, rng: random.Random) -> Entry:
    name = f"scene-{number + 1:03d}"
    if number % 2 == 0:
        return Entry(name, scene, IMAGE, (), question(scene, rng))
    wanted = rng.choice(PASSAGES_PER_SCENE)
    told: list[str] = []
    while len(told) < wanted:
        sentence = passage(scene, rng)
        if sentence not in told:
            told.append(sentence)
    return Entry(name, scene, TEXT, tuple(told), question(scene, rng))
