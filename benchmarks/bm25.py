"""How BM25 scores are best put on the common scale: passages found by words, pictures by vectors, one ranking.

python benchmarks/bm25.py FOLDER                    (chooses on the development photos)
python benchmarks/bm25.py FOLDER --photos test      (reports on the others)

FOLDER holds ``photo-dev-embeddings.npz`` and ``photo-test-embeddings.npz``: ``image`` (n, d), ``text`` (n, 5, d), unit
vectors of one vision-language encoder, and ``captions`` (n, 5), their wording. Half of the photos (drawn anew for every
repetition) are known as pictures, half by captions 2, 3 and 4 as passages. Caption 0 of every photo asks, caption 1
calibrates. The data are not distributed with the project.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import bm25s  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import Stemmer  # type: ignore[import-not-found]
from rank_bm25 import BM25Okapi  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from commonscale.core.treatments import TREATMENTS
from commonscale.stores.bm25 import Bm25sIndex, RankBm25Index, WordIndex

Matrix: TypeAlias = npt.NDArray[np.float64]
K = 20
RRF = 60


@dataclass(frozen=True)
class Said:
    """What BM25 says of many questions: scores (q, n), with -inf where no word is shared, and facts (q, 1)."""

    scores: Matrix
    words: Matrix
    possible: Matrix

    def of(self, chosen: npt.NDArray[np.bool_]) -> Said:
        """Give some of the questions."""
        return Said(self.scores[chosen], self.words[chosen], self.possible[chosen])


@dataclass(frozen=True)
class World:
    """One repetition: what asks and what calibrates, against passages and pictures; relevant columns per question."""

    asked: Said
    calibrating: Said
    texts: tuple[Matrix, Matrix]
    images: tuple[Matrix, Matrix]
    relevant: list[set[int]]
    long: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


def _known(name: str) -> Callable[[Said], Matrix]:
    def treat(said: Said) -> Matrix:
        found = np.isfinite(said.scores)
        rows = [
            TREATMENTS[name](row, int(w))
            for row, w in zip(np.where(found, said.scores, 0), said.words[:, 0], strict=True)
        ]
        return np.where(found, np.stack(rows), -np.inf)

    return treat


def _background(said: Said) -> Matrix:
    everything = np.where(np.isfinite(said.scores), said.scores, 0)
    mean, std = everything.mean(axis=1, keepdims=True), everything.std(axis=1, keepdims=True)
    treated: Matrix = (said.scores - mean) / np.where(std > 0, std, 1)
    return treated


WAYS: Mapping[str, Callable[[Said], Matrix]] = {
    "s (raw)": _known("raw"),
    "log(1 + s) (log)": _known("log"),
    "s / (s + 10)": lambda said: np.where(np.isfinite(said.scores), 1 - 10 / (said.scores + 10), -np.inf),
    "s / words": lambda said: said.scores / np.maximum(said.words, 1),
    "s / highest possible": lambda said: said.scores / said.possible,
    "s / root of highest possible": lambda said: said.scores / np.sqrt(said.possible),
    "(s - mean) / std over all passages": _background,
    "s / root of words (per_root_word)": _known("per_root_word"),
    "log(1 + s / root of words) (log_per_root_word)": _known("log_per_root_word"),
}


def main() -> None:
    """Compare the ways on both BM25 packages."""
    parser = argparse.ArgumentParser(description="treatments of BM25 scores beside cosines")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", choices=["dev", "test"], default="dev")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    with np.load(arguments.folder / f"photo-{arguments.photos}-embeddings.npz") as data:
        photos = {name: data[name] for name in ("image", "text", "captions")}
    for name, (split, index) in PACKAGES.items():
        rows: dict[str, list[list[float]]] = {}
        for repetition in range(arguments.repetitions):
            for way, figures in _measured(_world(photos, split, index, repetition)).items():
                rows.setdefault(way, []).append(figures)
        _report(f"{name}, {arguments.photos} photos, {arguments.repetitions} repetitions", rows)


def _stemmed(texts: list[str]) -> list[list[str]]:
    words: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), return_ids=False, show_progress=False
    )
    return words


def _bm25s(words: list[list[str]]) -> WordIndex:
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    return Bm25sIndex(index, str.split)


def _okapi(words: list[list[str]]) -> WordIndex:
    return RankBm25Index(BM25Okapi(words), str.split)


Split: TypeAlias = Callable[[list[str]], list[list[str]]]
Build: TypeAlias = Callable[[list[list[str]]], WordIndex]
PACKAGES: Mapping[str, tuple[Split, Build]] = {
    "bm25s as in LlamaIndex (stems, no stop words)": (_stemmed, _bm25s),
    "rank-bm25 as in LangChain (text.split())": (lambda texts: [text.split() for text in texts], _okapi),
}


def _world(photos: Mapping[str, Any], split: Split, build: Build, seed: int) -> World:
    order = np.random.default_rng(seed).permutation(len(photos["image"]))
    shown, told = order[: len(order) // 2], order[len(order) // 2 :]
    captions = photos["captions"].tolist()
    index = build(split([captions[photo][place] for photo in told for place in (2, 3, 4)]))
    asking = np.concatenate([told, shown])
    passages, pictures = photos["text"][told, 2:5].reshape(3 * len(told), -1), photos["image"][shown]
    vectors = [photos["text"][asking, place].astype(np.float64) for place in (0, 1)]
    lengths = [np.array([len(captions[photo][place].split()) for photo in asking]) for place in (0, 1)]
    middle = np.median(lengths[1])
    said = [_said(index, split([captions[photo][place] for photo in asking]), len(passages)) for place in (0, 1)]
    relevant = [{3 * i, 3 * i + 1, 3 * i + 2} for i in range(len(told))]
    relevant += [{len(passages) + i} for i in range(len(shown))]
    return World(
        said[0], said[1],
        (vectors[0] @ passages.T, vectors[1] @ passages.T), (vectors[0] @ pictures.T, vectors[1] @ pictures.T),
        relevant, (lengths[0] > middle, lengths[1] > middle),
    )  # fmt: skip


def _said(index: WordIndex, questions: list[list[str]], passages: int) -> Said:
    scores = np.full((len(questions), passages), -np.inf)
    possible = np.empty((len(questions), 1))
    most = cache(lambda word: index.match(word).scores.max(initial=0))
    for number, words in enumerate(questions):
        rows, found, _ = index.match(" ".join(words))
        scores[number, rows] = found
        possible[number] = max(sum(map(most, words)), 1e-9)
    return Said(scores, np.array([[len(words)] for words in questions], dtype=np.float64), possible)


def _measured(world: World) -> dict[str, list[float]]:
    everyone = np.ones(len(world.relevant), dtype=bool)
    nothing = np.full_like(world.texts[0], -np.inf), np.full_like(world.images[0], -np.inf)
    images = _standardized(*world.images)
    ranks = _reciprocal(world.asked.scores), _reciprocal(world.images[0])
    joint: dict[str, tuple[Matrix, Matrix]] = {
        "passages by vectors, raw cosine": (world.texts[0], world.images[0]),
        "passages by vectors, standardized": (_standardized(*world.texts), images),
        "passages by BM25 alone": (world.asked.scores, nothing[1]),
        "pictures alone": (nothing[0], images),
        "BM25 and pictures, reciprocal ranks": ranks,
    }
    rows = {name: _figures(*pair, world.relevant, everyone) for name, pair in joint.items()}
    asked_long, calibrating_long = world.long
    for name, way in WAYS.items():
        texts = _standardized(way(world.asked), way(world.calibrating))
        rows[name] = _figures(texts, images, world.relevant, everyone)
        for asked, calibrating in ((asked_long, ~calibrating_long), (~asked_long, calibrating_long)):
            texts = _standardized(way(world.asked), way(world.calibrating.of(calibrating)))
            shifted = _standardized(world.images[0], world.images[1][calibrating])
            figures = _figures(texts, shifted, world.relevant, asked)
            rows[name] = [*rows[name], (figures[3] + figures[7]) / 2]
    return rows


def _standardized(asked: Matrix, calibrating: Matrix) -> Matrix:
    best = calibrating.max(axis=1)
    best = best[np.isfinite(best)]
    standardized: Matrix = (asked - best.mean()) / best.std()
    return standardized


def _reciprocal(scores: Matrix) -> Matrix:
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return np.where(np.isfinite(scores) & (places < K), 1 / (RRF + 1 + places), -np.inf)


def _figures(texts: Matrix, images: Matrix, relevant: list[set[int]], asked: npt.NDArray[np.bool_]) -> list[float]:
    """Recall@1, @5, @20 and MRR@20 of questions about passages, then of those about pictures."""
    scores = np.concatenate([texts, images], axis=1)
    few = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.take_along_axis(few, np.argsort(np.take_along_axis(-scores, few, axis=1), axis=1, kind="stable"), axis=1)
    figures: list[float] = []
    for about in (True, False):
        each = []
        for number in np.flatnonzero(asked):
            wanted = relevant[number]
            if (min(wanted) < texts.shape[1]) != about:
                continue
            hits = [p for p, i in enumerate(order[number]) if i in wanted and np.isfinite(scores[number, i])]
            recall = [sum(p < k for p in hits) / len(wanted) for k in (1, 5, K)]
            each.append([*recall, 1 / (hits[0] + 1) if hits else 0.0])
        figures += np.mean(each, axis=0).tolist()
    return figures


def _report(title: str, rows: Mapping[str, list[list[float]]]) -> None:
    table = Table(title=title)
    for column in ("", *(f"{kind} {figure}" for kind in ("text", "image") for figure in ("R@1", "R@5", "R@20", "MRR"))):
        table.add_column(column, justify="left" if not column else "right")
    for column in ("mean MRR", "short > long", "long > short"):
        table.add_column(column, justify="right")
    for name, repetitions in rows.items():
        mean = np.mean(repetitions, axis=0).tolist()
        figures = [*mean[:8], (mean[3] + mean[7]) / 2, *mean[8:]]
        table.add_row(name, *(f"{figure:.3f}" for figure in figures))
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
