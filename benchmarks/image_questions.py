"""Photos as questions: what they find among passages and other photos, by raw cosine and on a common scale.

python benchmarks/image_questions.py PHOTO-TEST-EMBEDDINGS.npz PHOTO-DEV-EMBEDDINGS.npz

Each file holds ``image (n, d)`` and ``text (n, c, d)``: photos and their captions, unit vectors of one encoder. The
first 500 photos of the first file ask; all its captions and its other photos are searched. Right are a photo's own
captions. The bank is of photos of the second file, none of them stored, or of the stored photos themselves.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from commonscale import Calibration, JointSearch, Question
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.types import Floats, Source, Vector
from commonscale.evaluation.bootstrap import interval
from commonscale.evaluation.metrics import DEPTH, per_question
from commonscale.index import Document, MemoryIndex

ASKING = 500
SHOWN = ("recall@1", "recall@5", "recall@20", "mrr@20")
METHODS = ("standardized", "centered+standardized", "chance")
RESAMPLES = 10_000


class World(NamedTuple):
    """What is searched, what asks, and what is right."""

    sources: dict[str, Source]
    stored: Vector
    asking: list[Question]
    relevant: list[list[str]]
    bank: Vector


class Outcome(NamedTuple):
    """A ranking of every question: its metrics, and the share of texts in its top 10, one value per question."""

    metrics: dict[str, Floats]
    texts: Floats


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path)
    parser.add_argument("dev", type=Path)
    arguments = parser.parse_args()
    world = read(arguments.test, arguments.dev)
    console = Console(width=160)
    _print_neighbors(world, console)
    rows = {"raw cosine": outcome_of(world, None), "texts alone (ceiling)": outcome_of(world, None, only="text")}
    scales: dict[str, Calibration] = {}
    for name, bank, identical in (
        ("other photos", world.bank, IDENTICAL),
        ("stored photos", world.stored, IDENTICAL),
        ("stored photos, own hits kept", world.stored, None),
    ):
        for method in METHODS:
            questions = [Question(vector=row, kind="image") for row in bank]
            scale = JointSearch(world.sources).calibrate(questions, method=method, identical=identical)
            rows[f"{method}, {name}"] = outcome_of(world, scale)
            scales[f"{method}, {name}"] = scale
    _print(rows, console)
    _print_scales(scales, console)
    _print_differences(rows, console)


def read(test: Path, dev: Path) -> World:
    """Read both files and make the world."""
    with np.load(test) as held:
        photos, captions = held["image"], held["text"]
    with np.load(dev) as held:
        bank = held["image"]
    count, each = captions.shape[:2]
    texts = [[f"text:{photo}:{number}" for number in range(each)] for photo in range(count)]
    index = MemoryIndex(photos.shape[1])
    index.add([Document(i, "text") for ids in texts for i in ids], captions.reshape(count * each, -1))
    index.add([Document(f"image:{photo}", "image") for photo in range(ASKING, count)], photos[ASKING:])
    asking = [Question(vector=row, kind="image") for row in photos[:ASKING]]
    return World(dict(index.sources()), photos[ASKING:], asking, texts[:ASKING], bank)


def outcome_of(world: World, scale: Calibration | None, only: str | None = None) -> Outcome:
    """Rank every photo's documents, by raw cosine without a scale."""
    sources = world.sources if only is None else {only: world.sources[only]}
    rankings = JointSearch(sources, scale).search_batch(world.asking, DEPTH, raw=scale is None)
    metrics = per_question([ranking.ids for ranking in rankings], world.relevant)
    texts = [np.mean([hit.modality == "text" for hit in ranking[:10]]) for ranking in rankings]
    return Outcome(metrics, np.array(texts, dtype=np.float64))


def _print_neighbors(world: World, console: Console) -> None:
    """Say how close different photos come, against which ``IDENTICAL`` is set."""
    cosines = world.stored @ world.stored.T
    np.fill_diagonal(cosines, -1.0)
    best = cosines.max(axis=1)
    console.print(f"Nearest other photo of {len(best)}: mean cosine {best.mean():.3f}, highest {best.max():.3f}")


def _print(rows: dict[str, Outcome], console: Console) -> None:
    table = Table("method, bank", "texts in top 10", *SHOWN)
    for name, outcome in rows.items():
        figures = [f"{outcome.metrics[metric].mean():.3f}" for metric in SHOWN]
        table.add_row(name, f"{outcome.texts.mean():.1%}", *figures)
    console.print(table)


def _print_scales(scales: dict[str, Calibration], console: Console) -> None:
    table = Table("method, bank", "text location", "text scale", "image location", "image scale")
    for name, scale in scales.items():
        if scale.image_questions is not None:
            entries = [scale.image_questions.modalities[modality] for modality in ("text", "image")]
            table.add_row(name, *(f"{v:.3f}" for entry in entries for v in (entry.location, entry.scale)))
    console.print(table)


def _print_differences(rows: dict[str, Outcome], console: Console) -> None:
    """Print differences of MRR@20 with paired bootstrap intervals over the questions."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, ASKING, (RESAMPLES, ASKING))
    reference = "standardized, other photos"
    table = Table("MRR@20 minus that of", "difference", "95% interval", title=reference)
    for name, outcome in rows.items():
        if name != reference:
            difference = outcome.metrics["mrr@20"] - rows[reference].metrics["mrr@20"]
            found = interval(float(difference.mean()), difference[draws].mean(axis=1))
            table.add_row(name, f"{found.value:+.3f}", f"[{found.low:+.3f}, {found.high:+.3f}]")
    console.print(table)


if __name__ == "__main__":
    main()
