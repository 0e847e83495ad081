"""Photos as questions: what they find among passages and other photos, by raw cosine and on a common scale.

python benchmarks/image_questions.py TEST.npz DEV.npz [--encoder FOLDER --photos FOLDER]

With the encoder and the photo files it also embeds some photos again, to see how far one picture is from itself.

Each .npz file holds ``image (n, d)``, ``text (n, c, d)`` and ``names (n,)``: photos, captions and files, unit vectors
of one encoder. The first 500 photos of the first file ask; all its captions and its other photos are searched. Right
are a photo's own captions. The bank is of photos of the second file, none of them stored, or of the stored photos.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from commonscale import Calibration, JointSearch, Question
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.types import Floats, Source, Vector
from commonscale.encoders import load_encoder, load_image
from commonscale.evaluation.bootstrap import interval
from commonscale.evaluation.metrics import DEPTH, per_question
from commonscale.index import Document, MemoryIndex

ASKING = 500
AGAIN = 20
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
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--photos", type=Path)
    arguments = parser.parse_args()
    world = read(arguments.test, arguments.dev)
    console = Console(width=160)
    _print_neighbors(world, console)
    if arguments.encoder and arguments.photos:
        _print_again(arguments.test, arguments.encoder, arguments.photos, console)
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
    steps = np.abs(world.stored).max() / 127
    for name, kept in (("float16", world.stored.astype(np.float16)), ("int8", np.round(world.stored / steps))):
        rows = kept.astype(np.float64) / np.linalg.norm(kept.astype(np.float64), axis=1, keepdims=True)
        lost = 1.0 - np.einsum("ij,ij->i", rows, world.stored)
        console.print(f"1 - cosine of a vector and itself as {name}: at most {lost.max():.1e}")


def _print_again(test: Path, folder: Path, photos: Path, console: Console) -> None:
    """Embed some photos again, as they are and saved as JPEG once more, and compare them with their vectors."""
    with np.load(test) as held:
        known, names = held["image"][:AGAIN], held["names"][:AGAIN]
    encoder = load_encoder(str(folder))
    pictures = [load_image(photos / str(name)) for name in names]
    saved = []
    for picture in pictures:
        stream = BytesIO()
        picture.save(stream, "JPEG", quality=85)
        saved.append(stream.getvalue())
    for name, given in (
        ("the same file", [photos / str(n) for n in names]),
        ("saved again as JPEG, quality 85", saved),
    ):
        cosines = np.einsum("ij,ij->i", encoder.encode_images(given).astype(np.float64), known)
        console.print(f"1 - cosine of a photo's vector and {name}: {1 - cosines.max():.1e} to {1 - cosines.min():.1e}")


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
