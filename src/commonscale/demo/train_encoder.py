"""Train the demo's encoder: a small CLIP, from scratch, on drawn scenes that the demo never uses.

    python -m commonscale.demo.train_encoder --out FOLDER

The ordinary symmetric contrastive loss of CLIP (Radford et al. 2021) over pictures and sentences. A scene's
sentence is now a question, now a passage, so both wordings meet at the picture. The temperature starts where
CLIP's ends, at 0.01: with so low a temperature the loss is small long before the two cones in which random towers
start have met, which is why real CLIPs keep a modality gap (Liang et al. 2022), and why this one does.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.demo.drawing import draw
from commonscale.demo.scenes import Scene, distinct_scenes
from commonscale.demo.train_card import write_card
from commonscale.demo.train_tokenizer import END, PICTURE_SIZE, START, TOKENS, write_image_settings, write_tokenizer
from commonscale.demo.wording import passage, question
from commonscale.demo.world import build_world

HELD_OUT = 400
"""Scenes kept apart from training and from the demo, to measure retrieval on."""

Pixels = npt.NDArray[np.uint8]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a training run depends on, besides the code."""

    seed: int = 0
    steps: int = 450
    scenes: int = 10_000
    batch: int = 256
    learning_rate: float = 1e-3
    warmup: int = 60
    weight_decay: float = 0.1
    width: int = 128
    vision_layers: int = 4
    text_layers: int = 3
    patch: int = 8
    temperature: float = 0.01


def scenes_for(settings: Settings) -> tuple[list[Scene], list[Scene]]:
    """Sample the scenes to train on and those to measure on; none of them is in the demo's world."""
    excluded = build_world().keys
    scenes = distinct_scenes(settings.scenes + HELD_OUT, random.Random(settings.seed), excluded=excluded)
    return scenes[:-HELD_OUT], scenes[-HELD_OUT:]


def train(out: Path, settings: Settings) -> None:
    """Train, measure and save one encoder with its card.

    Args:
        out: the folder of the checkpoint.
        settings: the run.
    """
    import torch

    torch.manual_seed(settings.seed)
    torch.set_num_threads(2)
    rng = random.Random(settings.seed)
    scenes, held_out = scenes_for(settings)
    log.info("drawing %d scenes", len(scenes))
    with ProcessPoolExecutor(2) as pool:
        pictures = np.stack(list(pool.map(_pixels, scenes, chunksize=100)))
    vocabulary = write_tokenizer((say(scene, rng) for scene in scenes for _ in range(2)), out)
    write_image_settings(out)
    model = build_model(settings, vocabulary)
    save(model, out)
    before = measure(out, held_out)
    started = time.perf_counter()
    losses = _loop(model, out, settings, scenes, pictures, rng)
    save(model, out)
    minutes = (time.perf_counter() - started) / 60
    write_card(out, asdict(settings), before, measure(out, held_out), float(np.mean(losses[-20:])), minutes)


def say(scene: Scene, rng: random.Random) -> str:
    """Put a scene into words: as a question or as a passage, evenly."""
    return (question if rng.random() < 0.5 else passage)(scene, rng)


def build_model(settings: Settings, vocabulary: dict[str, int]) -> Any:
    """Make the untrained ``CLIPModel``."""
    from transformers import CLIPConfig, CLIPModel

    tower = {
        "hidden_size": settings.width,
        "intermediate_size": 4 * settings.width,
        "num_attention_heads": 4,
    }
    text = {
        "num_hidden_layers": settings.text_layers,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": TOKENS,
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }
    vision = {
        "num_hidden_layers": settings.vision_layers,
        "image_size": PICTURE_SIZE,
        "patch_size": settings.patch,
    }
    config = CLIPConfig(
        text_config={**tower, **text},
        vision_config={**tower, **vision},
        projection_dim=settings.width,
        logit_scale_init_value=math.log(1 / settings.temperature),
    )
    return CLIPModel(config)


def _loop(
    model: Any, out: Path, settings: Settings, scenes: list[Scene], pictures: Pixels, rng: random.Random
) -> list[float]:
    """Train the model in place and give the loss of every step."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(out)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    ceiling = math.log(1 / settings.temperature)
    answers = torch.arange(settings.batch)
    losses: list[float] = []
    order: list[int] = []
    for step in range(settings.steps):
        if len(order) < settings.batch:
            order = rng.sample(range(len(scenes)), len(scenes))
        chosen, order = order[: settings.batch], order[settings.batch :]
        sentences = [say(scenes[index], rng) for index in chosen]
        tokens = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
        pixels = torch.from_numpy(pictures[chosen]).permute(0, 3, 1, 2).float() / 127.5 - 1
        logits = model(**tokens, pixel_values=pixels).logits_per_text
        loss = (cross_entropy(logits, answers) + cross_entropy(logits.T, answers)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=ceiling)
        losses.append(loss.item())
        if step % 25 == 0:
            log.info("step %d of %d: loss %.3f", step, settings.steps, losses[-1])
    return losses


def _rate(step: int, settings: Settings) -> float:
    """Warm up linearly, then fall to zero as a cosine."""
    return min((step + 1) / settings.warmup, 0.5 * (1 + math.cos(math.pi * step / settings.steps)))


def save(model: Any, out: Path) -> None:
    """Save the weights in half precision, which halves the file, and leave the model as it is."""
    copy.deepcopy(model).half().save_pretrained(out)


def measure(checkpoint: Path, scenes: list[Scene]) -> dict[str, float]:
    """Measure retrieval and gap of a saved encoder on scenes it has not seen, through ``load_encoder``.

    Args:
        checkpoint: its folder.
        scenes: the scenes, all different.

    Returns:
        Recall@1 and @5 of finding the one right picture, or the one right passage, for each question, and the gap.
    """
    from commonscale.encoders import load_encoder

    encoder = load_encoder(str(checkpoint))
    rng = random.Random(1)
    asked = encoder.encode_questions([question(scene, rng) for scene in scenes])
    told = encoder.encode_texts([passage(scene, rng) for scene in scenes])
    shown = encoder.encode_images([draw(scene) for scene in scenes])
    found: dict[str, float] = {}
    for name, documents in (("picture", shown), ("passage", told)):
        cosines = asked @ documents.T
        ranks = (cosines > np.diag(cosines)[:, None]).sum(axis=1)
        found |= {f"question to {name}, Recall@{k}": float((ranks < k).mean()) for k in (1, 5)}
        found[f"mean cosine of a question and its best {name}"] = float(cosines.max(axis=1).mean())
    found["distance of the mean passage and the mean picture"] = float(np.linalg.norm(told.mean(0) - shown.mean(0)))
    return found


def _pixels(scene: Scene) -> Pixels:
    return np.asarray(draw(scene, PICTURE_SIZE))


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(arguments.pop("out"), Settings(**arguments))


if __name__ == "__main__":
    main()
