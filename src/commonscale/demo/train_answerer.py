"""Train the demo's answerer: a small LLaVA, from scratch, on drawn scenes that the demo never uses.

    python -m commonscale.demo.train_answerer --out FOLDER

An ordinary LLaVA (Liu et al. 2023, "Visual Instruction Tuning"): a CLIP vision tower, whose weights begin as those of
the demo's encoder, a projector, and a small Llama that begins at random. It reads a picture or a passage, then a
question, and learns to say the answer, or "unknown" where the item shows another scene. The loss is the usual one of
the next token: of the answers, and of the questions that the item answers, which tell what it shows as captions do.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.demo.drawing import draw
from commonscale.demo.facts import UNKNOWN
from commonscale.demo.reading import Reader
from commonscale.demo.scenes import Scene, distinct_scenes
from commonscale.demo.train_answer_batches import Asked, Packed, pack
from commonscale.demo.train_answer_card import measure, write_card
from commonscale.demo.train_answer_model import build_model, save, see_evenly
from commonscale.demo.train_answer_questions import ask_about
from commonscale.demo.train_answer_tokenizer import (
    ANSWER,
    ASK,
    END,
    PAD,
    build_tokenizer,
    words_of,
    write_processor,
)
from commonscale.demo.train_tokenizer import PICTURE_SIZE
from commonscale.demo.wording import passage
from commonscale.demo.world import build_world

HELD_OUT = 400
"""Scenes kept apart from training and from the demo, to measure answers on."""

SAVED_EVERY = 200
TOWER_RATE = 0.2
"""The learning rate of the vision tower, which has learned already, as a share of that of the rest."""

PICTURES_LOOKED_AT = 300
QUESTION_WEIGHT = 1.0
Pixels = npt.NDArray[np.uint8]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """One part of a training run.

    Attributes:
        steps: how many.
        cooldown: over how many steps at its end the learning rate falls to zero.
        pictures: how many a step reads.
        passages: how many a step reads.
        questions: how many are asked about each of them.
        learning_rate: between warming up and cooling down.
        mismatched: share of the questions that are about something that the item does not show.
        changes: in how many things such questions differ from the item.
        warmup: over how many steps the learning rate rises.
    """

    steps: int
    cooldown: int
    pictures: int
    passages: int
    questions: int
    learning_rate: float
    mismatched: float
    changes: tuple[int, ...]
    warmup: int


@dataclass(frozen=True)
class Settings:
    """What a training run depends on, besides the code."""

    seed: int = 0
    scenes: int = 8_000
    weight_decay: float = 0.05
    width: int = 128
    inner: int = 256
    layers: int = 4
    heads: int = 4
    vision_layers: int = 3
    precision: str = "bfloat16"
    phases: tuple[Phase, ...] = (
        Phase(800, 0, 0, 12, 8, 1.5e-3, 0.20, (1, 2, 3), 50),
        Phase(5000, 900, 8, 4, 6, 1e-3, 0.20, (1, 2, 3), 30),
    )


def scenes_for(settings: Settings) -> tuple[list[Scene], list[Scene]]:
    """Sample the scenes to train on and those to measure on; none of them is in the demo's world."""
    excluded = build_world().keys
    scenes = distinct_scenes(settings.scenes + HELD_OUT, random.Random(settings.seed + 1), excluded=excluded)
    return scenes[:-HELD_OUT], scenes[-HELD_OUT:]


def train(out: Path, settings: Settings) -> None:
    """Train, measure and save one answerer with its card.

    Args:
        out: the folder of the checkpoint.
        settings: the run.
    """
    import torch

    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)
    scenes, held_out = scenes_for(settings)
    log.info("drawing %d scenes", len(scenes))
    pictures = np.stack([_pixels(scene) for scene in scenes])
    rng = random.Random(settings.seed)
    sentences = (words for scene in scenes for words in (passage(scene, rng), *ask_about(scene, scenes, rng)))
    tokenizer = build_tokenizer(words_of(sentences))
    model = build_model(settings, tokenizer.get_vocab())
    see_evenly(model, pictures[:PICTURES_LOOKED_AT])
    write_processor(tokenizer, out, model.config.vision_config.patch_size)
    started = time.perf_counter()
    losses: list[float] = []
    for number, phase in enumerate(settings.phases):
        log.info("phase %d of %d", number + 1, len(settings.phases))
        lessons = Lessons(phase, tokenizer, scenes, random.Random(settings.seed + number))
        losses += Training(model, settings, phase, lessons, pictures).run(out)
        save(model, out)
    minutes = (time.perf_counter() - started) / 60
    measured = measure(Reader(out), held_out)
    write_card(out, asdict(settings), measured, len(held_out), float(np.mean(losses[-50:])), minutes)


class Lessons:
    """What is read and asked in one phase of training."""

    def __init__(self, phase: Phase, tokenizer: Any, scenes: list[Scene], rng: random.Random) -> None:
        """Set up the lessons.

        Args:
            phase: how much, and what mix.
            tokenizer: the model's.
            scenes: what is told and asked about.
            rng: picks everything.
        """
        self.padding: int = tokenizer.convert_tokens_to_ids(PAD)
        self._phase, self._tokenizer, self._scenes, self._rng = phase, tokenizer, scenes, rng

    def order(self) -> Iterator[int]:
        """Go through the scenes in a new order each time."""
        while True:
            yield from self._rng.sample(range(len(self._scenes)), len(self._scenes))

    def told(self, index: int) -> list[int]:
        """Tell about a scene in a passage, in tokens."""
        ids: list[int] = self._tokenizer(passage(self._scenes[index], self._rng))["input_ids"]
        return ids

    def asked(self, index: int) -> list[Asked]:
        """Ask about a scene."""
        phase, scenes = self._phase, self._scenes
        pairs = [
            ask_about(scenes[index], scenes, self._rng, mismatched=phase.mismatched, changes=phase.changes)
            for _ in range(phase.questions)
        ]
        questions = self._tokenizer([f"{ASK} {q} {ANSWER}" for q, _ in pairs], add_special_tokens=False)["input_ids"]
        answers = self._tokenizer([f"{a} {END}" for _, a in pairs], add_special_tokens=False)["input_ids"]
        known = [answer != UNKNOWN for _, answer in pairs]
        return [Asked(*each) for each in zip(questions, answers, known, strict=True)]


class Training:
    """One phase of a run."""

    def __init__(self, model: Any, settings: Settings, phase: Phase, lessons: Lessons, pictures: Pixels) -> None:
        """Set up the phase.

        Args:
            model: trained in place.
            settings: the run.
            phase: the part of it.
            lessons: what is read and asked.
            pictures: the scenes' pixels, shape (scenes, side, side, 3).
        """
        self.model, self.settings, self.phase = model, settings, phase
        self.lessons, self.pictures = lessons, pictures
        config = model.config
        self._shown = [config.text_config.bos_token_id, *[config.image_token_index] * config.image_seq_length]

    def run(self, out: Path) -> list[float]:
        """Train, saving now and then, and give the answers' loss of every step."""
        import torch

        phase = self.phase
        optimizer = torch.optim.AdamW(self._groups(), lr=phase.learning_rate, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        losses: list[float] = []
        order = self.lessons.order()
        for step in range(phase.steps):
            shown, told = ([next(order) for _ in range(n)] for n in (phase.pictures, phase.passages))
            given = [(chosen, pictured) for chosen, pictured in ((shown, True), (told, False)) if chosen]
            answers, questions = sum(self._losses(*each) for each in given) / len(given)
            loss = answers + QUESTION_WEIGHT * questions
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(answers.item())
            if step % 25 == 0:
                log.info("step %d of %d: loss %.3f", step, phase.steps, np.mean(losses[-25:]))
            if step % SAVED_EVERY == SAVED_EVERY - 1:
                save(self.model, out)
        return losses

    def _groups(self) -> list[dict[str, Any]]:
        rate, decay = self.phase.learning_rate, self.settings.weight_decay
        groups: dict[tuple[float, float], list[Any]] = defaultdict(list)
        for name, weights in self.model.named_parameters():
            own_rate = rate * TOWER_RATE if "vision_tower" in name else rate
            groups[own_rate, decay if weights.ndim > 1 else 0.0].append(weights)
        return [{"params": each, "lr": own, "weight_decay": loss} for (own, loss), each in groups.items()]

    def _rate(self, step: int) -> float:
        """Warm up linearly, stay, and fall linearly to zero at the end."""
        phase = self.phase
        return min(1.0, (step + 1) / phase.warmup, (phase.steps - step) / max(phase.cooldown, 1))

    def _losses(self, chosen: list[int], pictured: bool) -> Any:
        """Compute the mean loss of the answers' tokens, and that of the questions'."""
        import torch
        from torch.nn.functional import cross_entropy

        items = [self._shown if pictured else self.lessons.told(index) for index in chosen]
        batch = pack(items, [self.lessons.asked(index) for index in chosen], self.lessons.padding)
        precision = self.settings.precision
        with torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32"):
            hidden = self._hidden(batch, chosen if pictured else None)
            logits = self.model.lm_head(hidden).float().transpose(1, 2)
        return torch.stack([cross_entropy(logits, labels) for labels in (batch.answers, batch.questions)])

    def _hidden(self, batch: Packed, shown: list[int] | None) -> Any:
        import torch

        model = self.model.model
        embedded = model.get_input_embeddings()(batch.ids)
        if shown is not None:
            pixels = torch.from_numpy(self.pictures[shown]).permute(0, 3, 1, 2).float() / 127.5 - 1
            states = model.vision_tower(pixels, output_hidden_states=True).hidden_states
            seen = model.multi_modal_projector(states[model.config.vision_feature_layer][:, 1:])
            embedded = torch.cat([embedded[:, :1], seen.to(embedded.dtype), embedded[:, 1 + seen.shape[1] :]], dim=1)
        mask = torch.where(batch.seen, 0.0, float("-inf"))
        return model.language_model(inputs_embeds=embedded, attention_mask=mask, position_ids=batch.positions)[0]


def _pixels(scene: Scene) -> Pixels:
    """Draw a scene as it is read later: the picture of a file, made smaller."""
    from PIL import Image

    return np.asarray(draw(scene).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BICUBIC))


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    sizes = {name: value for name, value in asdict(Settings()).items() if name != "phases"}
    for name, value in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(arguments.pop("out"), Settings(**arguments))


if __name__ == "__main__":
    main()
