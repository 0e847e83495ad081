"""The card that lies beside a trained answerer: how it was made, and how often it is right on held-out scenes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonscale.core.files import write_text_atomically
from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.demo.drawing import draw
from commonscale.demo.facts import KINDS, UNKNOWN, fact_of, falsified
from commonscale.demo.reading import Reader
from commonscale.demo.scenes import Scene
from commonscale.demo.train_answer_questions import HERE, WHOLE
from commonscale.demo.wording import passage, question

CHANGED, ELSEWHERE = "one thing changed", "another scene"
ROWS = (*KINDS, WHOLE, CHANGED, ELSEWHERE)
MEASURED_SEED = 7

_INTRODUCTION = """\
# The demo's answerer

A small LLaVA (transformers' `LlavaForConditionalGeneration`: a CLIP vision tower, a projector and a Llama; float16
safetensors), trained on drawn scenes. It reads one picture or one passage and a question, and answers in a word. It
knows ten things, eight colors, numbers up to four and where one group stands from another, and nothing else. Made by

    python -m commonscale.demo.train_answerer --out FOLDER

on scenes that neither the demo's corpus nor its calibration questions contain. The vision tower begins as the first
layers of the demo's own encoder, which was trained from scratch too, and the words begin where that encoder has them;
everything else begins at random. The loss is that of the next token: of answers, and of questions that the item
answers. Pictures, sentences and weights are this project's own, under its licence.

A prompt is `<image> <question> What color is the cup above a red boat? <answer>`, or a passage in the place of
`<image>`; `AutoProcessor` makes the tokens and pixels. The answer is one of the words in the table's first column, or
`unknown` where the item shows another scene.
"""

_ANSWERS = {
    "color": "red, orange, yellow, green, blue, purple, pink, brown",
    "count": "one, two, three, four",
    "thing": "house, boat, tree, ... or boats, trees, ... if there are several",
    "position": "above, below, left, right",
    WHOLE: "here (to “Where are there two red cars above a moon?”)",
    CHANGED: "unknown: the question differs from the item in one thing that it names",
    ELSEWHERE: "unknown: the question is about a scene that has nothing to do with the item's",
}


@dataclass(frozen=True)
class Task:
    """One held-out item with a question and the right answer.

    Attributes:
        row: one of `ROWS`.
        question: in words.
        answer: the right one.
    """

    row: str
    question: str
    answer: str


def tasks_for(scene: Scene, other: Scene, rng: random.Random) -> list[Task]:
    """Ask everything about a held-out scene that the card measures, one question for each row."""
    facts = [fact_of(scene, kind, rng.randrange(2), setting=True) for kind in KINDS]
    tasks = [Task(fact.kind, fact.question(rng), fact.answer) for fact in facts]
    elsewhere = fact_of(other, rng.choice(KINDS), rng.randrange(2), setting=True)
    return [
        *tasks,
        Task(WHOLE, question(scene, rng), HERE),
        Task(CHANGED, falsified(rng.choice(facts), rng).question(rng), UNKNOWN),
        Task(ELSEWHERE, elsewhere.question(rng), UNKNOWN),
    ]


def measure(reader: Reader, scenes: Sequence[Scene]) -> dict[Modality, dict[str, float]]:
    """Measure an answerer on scenes that it has not seen.

    Args:
        reader: the answerer.
        scenes: the scenes, all different.

    Returns:
        The share of right answers by modality of the item and row of `ROWS`, each over all scenes.
    """
    rng = random.Random(MEASURED_SEED)
    right: dict[Modality, dict[str, float]] = {m: dict.fromkeys(ROWS, 0.0) for m in (IMAGE, TEXT)}
    for number, scene in enumerate(scenes):
        tasks = tasks_for(scene, scenes[number - 1], rng)
        for modality, item in ((IMAGE, draw(scene)), (TEXT, passage(scene, rng))):
            readings = reader.read(item, [task.question for task in tasks])
            for task, reading in zip(tasks, readings, strict=True):
                right[modality][task.row] += (reading.answer == task.answer) / len(scenes)
    return right


def write_card(
    folder: Path,
    settings: Mapping[str, Any],
    measured: Mapping[Modality, Mapping[str, float]],
    scenes: int,
    loss: float,
    minutes: float,
) -> None:
    """Write ``README.md`` into the checkpoint's folder.

    Args:
        folder: the checkpoint's folder.
        settings: what the run depended on.
        measured: what ``measure`` gave.
        scenes: on how many scenes.
        loss: mean training loss of the last 50 steps.
        minutes: how long training took.
    """
    lines = [_INTRODUCTION, "## Settings", "", *_settings(settings)]
    lines += [
        "",
        f"Loss at the end: {loss:.4f} (mean of 50 steps). Training took {minutes:.0f} minutes in one thread of a "
        "busy machine.",
        "",
        f"## Measured on {scenes} held-out scenes",
        "",
        "Share of right answers, one question of each kind about each scene's picture, and about a passage on it.",
        "",
        "| asked for | right answers | picture | passage |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {row} | {_ANSWERS[row]} | {measured[IMAGE][row]:.3f} | {measured[TEXT][row]:.3f} |" for row in ROWS]
    write_text_atomically(folder / "README.md", "\n".join(lines) + "\n")


def _settings(settings: Mapping[str, Any]) -> list[str]:
    """List what holds for the whole run, then what differs from phase to phase."""
    lines = ["| setting | value |", "| --- | --- |"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in settings.items() if name != "phases"]
    phases = settings["phases"]
    lines += ["", f"| phase | {' | '.join(str(number + 1) for number in range(len(phases)))} |"]
    lines.append(f"| --- |{' --- |' * len(phases)}")
    return lines + [
        f"| {name.replace('_', ' ')} | {' | '.join(str(phase[name]) for phase in phases)} |" for name in phases[0]
    ]
