"""The labeled pairs of the training split, for the method that needs labels and for the paper's look at the gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.types import IMAGE, TEXT, Floats, Modality, Vector
from commonscale.datasets import RetrievalDataset
from commonscale.reproduction.embedded import Embedded, image_items, text_items
from commonscale.reproduction.embedding import Item
from commonscale.reproduction.selection import Selection


@dataclass(frozen=True, slots=True, eq=False)
class Labeled:
    """Calibration questions beside the documents that they are labeled with.

    Attributes:
        questions: unit vectors (r, d), one row per pair.
        documents: unit vectors (r, d).
        modalities: of the documents (r,).
    """

    questions: Vector
    documents: Vector
    modalities: npt.NDArray[np.str_]

    @property
    def cosines(self) -> Floats:
        """Cosine of each pair (r,)."""
        cosines: Floats = np.einsum("rd,rd->r", self.questions, self.documents, dtype=np.float64)
        return cosines

    def of(self, modality: Modality) -> Labeled:
        """Give the pairs of one modality."""
        rows = self.modalities == modality
        return Labeled(self.questions[rows], self.documents[rows], self.modalities[rows])


def embed_labels(
    dataset: RetrievalDataset,
    selection: Selection,
    pool: dict[Modality, Embedded],
    embed: Any,
    cache: Path,
) -> dict[Modality, Embedded]:
    """Embed the documents of training labels that a smaller pool has not; they are never searched."""
    tried = {m: set(each.rows) | {failure.id for failure in each.shards.failures} for m, each in pool.items()}
    wanted = {modality: selection.labeled(modality) - tried[modality] for modality in pool}

    def texts() -> Iterator[Item]:
        return text_items(passage for passage in dataset.passages() if passage.id in wanted[TEXT])

    def images() -> Iterator[Item]:
        return image_items(picture for picture in dataset.pictures() if picture.id in wanted[IMAGE])

    makers = {TEXT: texts, IMAGE: images}
    return {
        modality: Embedded.of(embed(makers[modality], cache / f"labels-{modality}", title=f"Labels ({modality})"))
        for modality in pool
        if wanted[modality]
    }


def labels_of(
    selection: Selection, bank: Embedded, pool: dict[Modality, Embedded], beside: dict[Modality, Embedded]
) -> tuple[Labeled, dict[str, npt.NDArray[Any]]]:
    """Give the training pairs, and their arrays for the benchmark file if the pool holds all of them."""
    questions, documents, modalities = [], [], []
    inside: list[tuple[int, str, int]] = []
    for question in selection.calibration:
        for modality, key in question.relevant:
            for each in (pool[modality], beside.get(modality)):
                if each is not None and key in each.rows:
                    row = bank.rows[question.id]
                    questions.append(bank.vectors[row])
                    documents.append(each.vectors[each.rows[key]])
                    modalities.append(modality)
                    if each is pool[modality]:
                        inside.append((row, modality, each.rows[key]))
    empty = np.empty((0, bank.vectors.shape[1]), np.float32)
    labeled = Labeled(
        np.stack(questions) if questions else empty,
        np.stack(documents) if documents else empty,
        np.array(modalities, dtype=np.str_),
    )
    if len(inside) < len(questions) or not inside:
        return labeled, {}
    columns = zip(*inside, strict=True)
    names = ("question", "modality", "index")
    return labeled, {
        f"calibration_relevant_{name}": np.array(column) for name, column in zip(names, columns, strict=True)
    }
