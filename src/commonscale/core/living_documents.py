"""What the documents of a modality add up to, and how one more or one less changes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from commonscale.core.correction import HUB_WEIGHT
from commonscale.core.duplicates import DistinctCount
from commonscale.core.errors import InvalidInputError
from commonscale.core.fitting import NEIGHBORS
from commonscale.core.living_hits import SAME, LivingHits
from commonscale.core.living_lens import Lens, Measured
from commonscale.core.living_table import COLUMNS, LivingTable
from commonscale.core.types import Floats, Vector

BLOCK = 4_194_304
"""Most similarities computed at once, so that adding many documents needs bounded memory (32 MB in float64)."""

Vectors: TypeAlias = Mapping[str, Vector]
"""Unit vectors (d,) by document id."""

FEW = 16
"""Documents below which those of the chance level are read again when one goes. A vector that comes back from a store
may differ by 1e-8 from the one that was added; where only nearly equal documents are left, so that the spread is almost
0, its root would turn that into 1e-4."""


class LivingDocuments:
    """The table of documents, the sums of the background, and the best hits.

    Attributes:
        lens: how they are seen.
        table: four numbers for each.
        hits: the best hit of each question.
        sums: number, sum and sum of squares of the similarities with each question (3, C), for the chance level.
        total: of the unit vectors (d,); the share of a document whose vector was not known when it went is the mean.
        kept: the vectors, None if they are not kept.
        distinct: how many of them differ, for the chance level.
    """

    def __init__(self, lens: Lens, *, keep: bool) -> None:
        """Begin without documents."""
        self.lens = lens
        self.table = LivingTable()
        self.hits = LivingHits(len(lens.bank))
        self.sums = np.zeros((3, len(lens.bank)))
        self.total: Floats = np.zeros(len(lens.document_mean))
        self.kept: dict[str, Vector] | None = {} if keep else None
        self.distinct = DistinctCount()

    def __len__(self) -> int:
        return len(self.table)

    def add(self, vectors: Vectors, before: Vectors) -> bool:
        """Take in documents, in place of those of the same ids.

        Args:
            vectors: the documents.
            before: the vectors of those that they replace, as far as they are known.

        Returns:
            False if all must be read again: one that is replaced is not known, or too few stay as they are.
        """
        for names, rows in blocks(vectors, len(self.hits)):
            measured = self.lens.measure(rows)
            # Stores are often given again what they hold; to subtract and add it would cost its old vector.
            news = [place for place, key in enumerate(names) if not self._holds(key, measured.table[place])]
            fresh = [names[place] for place in news]
            if not self.subtract([key for key in fresh if key in self.table], before):
                return False
            if len(news) < len(names):
                rows, measured = rows[news], Measured(measured.table[news], measured.similarities[news])
            if self.lens.chance:
                self.sums += measured.sums()
                self.distinct.add(rows)
            self.total += rows.sum(axis=0, dtype=np.float64)
            self.table.put(fresh, measured.table)
            self.hits.take(fresh, measured.similarities)
            if self.kept is not None:
                self.kept.update((key, row.copy()) for key, row in zip(fresh, rows, strict=True))
        return True

    def remove(self, ids: Sequence[str], before: Vectors) -> bool:
        """Let go of documents that are in the table.

        Returns:
            False if all must be read again, as for ``add``.
        """
        if not self.subtract(ids, before):
            return False
        self.table.drop(ids)
        self.hits.drop(ids)
        if self.kept is not None:
            for key in ids:
                del self.kept[key]
        return True

    def ask(self, lens: Lens, slots: Collection[int]) -> None:
        """Change the bank, where neither hub scores nor sums depend on it: some questions are to be searched."""
        self.lens = lens
        self.sums = np.zeros((3, len(lens.bank)))
        self.hits.renew(slots, len(lens.bank))

    def state(self) -> dict[str, Any]:
        """Give everything but the hits, as arrays and values that JSON can hold."""
        ids = self.table.ids
        return {
            "question_mean": self.lens.question_mean,
            "document_mean": self.lens.document_mean,
            "ids": list(ids),
            "table": self.table.values(ids),
            "sums": self.sums,
            "total": self.total,
            "distinct": self.distinct.state(),
            "kept": None if self.kept is None else np.stack([self.kept[key] for key in ids]),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], lens: Lens, hits: LivingHits, *, keep: bool) -> LivingDocuments:
        """Make the documents whose ``state`` this is.

        Raises:
            InvalidInputError: if arrays do not have the shapes that its documents and the bank ask for.
        """
        _check_shapes(state, len(hits), keep=keep)
        made = cls(lens, keep=keep)
        made.table.put(state["ids"], state["table"])
        made.sums, made.total, made.hits = state["sums"], state["total"], hits
        made.distinct = DistinctCount.from_state(state["distinct"])
        if keep:
            made.kept = dict(zip(state["ids"], state["kept"], strict=True))
        return made

    def subtract(self, ids: Sequence[str], before: Vectors) -> bool:
        """Take the share of documents out of the sums; False, and nothing changed, if all must be read again."""
        if not ids:
            return True
        old = {**{key: before[key] for key in ids if key in before}, **self._kept(ids)}
        if self.lens.chance and (len(old) < len(ids) or len(self) - len(ids) < FEW):
            return False
        if self.lens.chance:
            try:
                self.distinct.remove(np.stack(list(old.values())))
            except InvalidInputError:
                return False  # What went is not what came: only the store knows.
        mean = self.total / max(1, len(self.table))
        self.total -= mean * (len(ids) - len(old))
        for _, rows in blocks(old, len(self.hits)):
            self.total -= rows.sum(axis=0, dtype=np.float64)
            if self.lens.chance:
                self.sums -= self.lens.measure(rows).sums()
        return True

    def levels(self) -> tuple[Floats, Floats]:
        """Give mean and standard deviation (C,) of each question's similarities; 0 where it has no other document."""
        counts, sums, squares = self.sums
        counts = np.maximum(counts, 1.0)
        means = sums / counts
        return means, np.sqrt(np.maximum(squares / counts - means**2, 0.0))

    def unbanked(self) -> Floats:
        """Give the similarity (C,) of each question with its best hit as it would be if it were not in the bank.

        A banked question raises the hub scores of its own best hits, and so lowers their similarities; questions that
        only ask do not. NaN where there is no hit.
        """
        found, count = self.hits.found, len(self.hits)
        held = [slot for slot, key in enumerate(self.hits.ids) if key is not None and key in self.table]
        if not self.lens.chance or count < 2 or not held:
            return found
        hubs, following = self.table.values([str(self.hits.ids[slot]) for slot in held]).T[2:]
        centred = found[held] + HUB_WEIGHT * hubs
        if count > NEIGHBORS:
            lowered = np.maximum(centred - following, 0.0) / NEIGHBORS
        else:
            lowered = (centred - hubs) / (count - 1)
        found[held] += HUB_WEIGHT * lowered
        return found

    def _kept(self, ids: Sequence[str]) -> dict[str, Vector]:
        return {} if self.kept is None else {key: self.kept[key] for key in ids}

    def _holds(self, key: str, numbers: Floats) -> bool:
        """Tell whether the table has this very document: all four numbers of another one hardly ever agree."""
        return key in self.table and bool((np.abs(self.table.values([key])[0] - numbers) <= SAME).all())


def _check_shapes(state: Mapping[str, Any], questions: int, *, keep: bool) -> None:
    documents, dimension = len(state["ids"]), len(state["document_mean"])
    needed = {
        "question_mean": (dimension,),
        "document_mean": (dimension,),
        "table": (documents, COLUMNS),
        "sums": (3, questions),
        "total": (dimension,),
    } | ({"kept": (documents, dimension)} if keep else {})
    for name, shape in needed.items():
        if np.shape(state[name]) != shape:
            raise InvalidInputError(
                f"{name!r} of {documents} documents, {questions} questions and {dimension} dimensions must have the "
                f"shape {shape}, not {np.shape(state[name])}"
            )


def blocks(vectors: Vectors, questions: int) -> list[tuple[list[str], Vector]]:
    """Give ids and vectors (n, d) in parts whose similarities with so many questions fit into ``BLOCK``."""
    names = list(vectors)
    step = max(1, BLOCK // max(1, questions))
    parts = [names[start : start + step] for start in range(0, len(names), step)]
    return [(part, np.stack([vectors[key] for key in part])) for part in parts]
