"""A small corpus with a modality gap, and its exact ranking in numpy."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sources import unit_rows

QUESTIONS = tuple(f"question {number}" for number in range(40))


@dataclass(frozen=True)
class Item:
    """One document, in no framework's form."""

    id: str
    modality: str
    text: str
    metadata: dict[str, Any]
    vector: list[float]


Where = Callable[[Item], bool]


class Corpus:
    """Texts near the questions, images far from them; every cosine is known."""

    def __init__(
        self, texts: int = 60, images: int = 25, dimension: int = 16, *, norm: float = 1.0, seed: int = 0
    ) -> None:
        """Draw a corpus.

        Args:
            texts: how many.
            images: how many.
            dimension: of the vectors.
            norm: norms are drawn between 1 / norm and norm.
            seed: of everything.
        """
        rng = np.random.default_rng(seed)
        gap = np.zeros(dimension, dtype=np.float32)
        gap[0] = 1.0
        self.dimension = dimension
        self.questions = _unit(unit_rows(rng, len(QUESTIONS), dimension) + gap)
        rows = np.concatenate(
            [
                _unit(unit_rows(rng, texts, dimension) + gap),
                _unit(unit_rows(rng, images, dimension) - np.float32(0.3) * gap),
            ]
        )
        stretch = (norm ** rng.uniform(-1, 1, (len(rows), 1))).astype(np.float32)
        stored = (rows * stretch).tolist()
        made = []
        for number, vector in enumerate(stored):
            modality = "text" if number < texts else "image"
            place = number if number < texts else number - texts
            name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{modality}/{place}"))
            metadata = {"modality": modality, "parity": place % 2, "place": place}
            made.append(Item(name, modality, f"{modality} {place}", metadata, vector))
        # Shuffled, so that the rows of one modality are not adjacent in a mixed store.
        self.items: list[Item] = [made[i] for i in rng.permutation(len(made))]
        self._by_id = {item.id: item for item in self.items}
        self._rows = {item.id: row for item, row in zip(made, rows, strict=True)}

    def __getitem__(self, item_id: str) -> Item:
        return self._by_id[item_id]

    def of(self, modality: str) -> list[Item]:
        """The items of one modality."""
        return [item for item in self.items if item.modality == modality]

    def without(self, ids: Sequence[str]) -> Corpus:
        """The same corpus with some items gone."""
        smaller = object.__new__(Corpus)
        smaller.__dict__.update(self.__dict__)
        smaller.items = [item for item in self.items if item.id not in set(ids)]
        return smaller

    @property
    def vectors(self) -> dict[str, list[float]]:
        """The questions' vectors, by wording."""
        return dict(zip(QUESTIONS, self.questions.tolist(), strict=True))

    def cosines(self, modality: str, where: Where | None = None) -> tuple[list[str], np.ndarray]:
        """Ids (n) and cosines (questions, n) of the items of a modality that pass."""
        ids = [item.id for item in self.of(modality) if where is None or where(item)]
        matrix = np.array([self._rows[i] for i in ids], dtype=np.float64).reshape(len(ids), self.dimension)
        return ids, self.questions.astype(np.float64) @ matrix.T

    def statistics(self, where: Where | None = None) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of the questions' best cosines, by modality (Eq. 3-4)."""
        best = {m: self.cosines(m, where)[1].max(axis=1) for m in ("text", "image")}
        return {m: (float(tops.mean()), float(tops.std())) for m, tops in best.items()}

    def ranking(
        self, question: int, k: int, *, raw: bool = False, where: Where | None = None
    ) -> list[tuple[str, float]]:
        """The best k of all items as (id, score), by brute force."""
        pairs = []
        for modality, (mean, std) in self.statistics(where).items():
            ids, cosines = self.cosines(modality, where)
            scores = cosines[question] if raw else (cosines[question] - mean) / std
            pairs += zip(ids, scores.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])[:k]

    def nearest(self, question: int, k: int, modality: str, where: Where | None = None) -> list[str]:
        """The ids of the k items of one modality that are closest to a question."""
        ids, cosines = self.cosines(modality, where)
        return [ids[i] for i in np.argsort(-cosines[question], kind="stable")[:k]]


def even(item: Item) -> bool:
    """What every kind's own filter ``even`` selects."""
    return item.metadata["parity"] == 0


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
