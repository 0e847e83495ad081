"""From shards and questions to the arrays of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Floats, Modality, Vector
from commonscale.datasets import DatasetQuestion, Passage, Picture, RetrievalDataset
from commonscale.embedding.partitions import digest_of
from commonscale.evaluation import Benchmark
from commonscale.reproduction.arrays import write_arrays
from commonscale.reproduction.embedding import QUESTION, Item, count_cut, embed_items, read_vectors
from commonscale.reproduction.selection import Selection

if TYPE_CHECKING:
    from commonscale.embedding import Shards
    from commonscale.encoders import Encoder

Arrays = dict[str, npt.NDArray[Any]]


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


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """All that the tables and figures of a data set are made from.

    Attributes:
        benchmark: questions, calibration questions and the pool.
        labeled: pairs of the training split.
        image_rows: rows of the calibration questions that need pictures.
        digest: differs if anything that was embedded does.
        notes: what a reader should know, in sentences.
    """

    benchmark: Benchmark
    labeled: Labeled
    image_rows: npt.NDArray[np.int64]
    digest: str
    notes: Sequence[str]


@dataclass(frozen=True, eq=False)
class _Embedded:
    """Vectors by id."""

    shards: Shards
    rows: dict[str, int]
    vectors: Vector

    @classmethod
    def of(cls, shards: Shards) -> _Embedded:
        ids, vectors = read_vectors(shards)
        return cls(shards, {key: row for row, key in enumerate(ids)}, vectors)


def make_material(
    dataset: RetrievalDataset,
    selection: Selection,
    encoder: Encoder,
    cache: Path,
    target: Path,
    *,
    progress: bool = False,
) -> Material:
    """Embed a data set's questions and pool, and put them together.

    Args:
        dataset: the data set.
        selection: which questions and documents.
        encoder: embeds them.
        cache: where shards are kept.
        target: the ``.npz`` file that the benchmark is written to, for ``commonscale evaluate``.
        progress: show progress bars on stderr.

    Raises:
        InvalidInputError: if no question has a relevant document that could be embedded.
        EncoderError: if the encoder cannot be used; what was embedded stays.
    """
    embed = partial(embed_items, encoder=encoder, progress=progress)
    asked = _Embedded.of(embed(lambda: _asked(selection.evaluated), cache / "questions", title="Questions"))
    bank = _Embedded.of(embed(lambda: _asked(selection.calibration), cache / "calibration", title="Training questions"))
    texts = _Embedded.of(embed(lambda: _texts(selection.passages(dataset)), cache / "texts", title="Texts"))
    store = dataset.store
    images = _Embedded.of(
        embed(lambda: _images(selection.pictures(dataset)), cache / "images", title="Pictures", open_picture=store.open)
    )
    pool = {TEXT: texts, IMAGE: images}
    beside = _beside_the_pool(dataset, selection, pool, partial(embed, open_picture=store.open), cache)
    arrays, evaluated = _arrays(selection, asked, bank, pool)
    labeled, inside = _labels(selection, bank, pool, beside)
    arrays.update(inside)
    write_arrays(target, arrays)
    rows = [row for row, q in enumerate(selection.calibration) if q.modality == IMAGE]
    everything = [*pool.values(), *beside.values(), asked, bank]
    return Material(
        Benchmark.from_arrays(arrays, dataset.name),
        labeled,
        np.array(rows, dtype=np.int64),
        digest_of([list(each.shards.manifest.parts) for each in everything]),
        _notes(selection, pool, evaluated),
    )


def _asked(questions: Iterable[DatasetQuestion]) -> Iterator[Item]:
    return (Item(question.id, QUESTION, question.text) for question in questions)


def _texts(passages: Iterable[Passage]) -> Iterator[Item]:
    return (Item(passage.id, TEXT, passage.text) for passage in passages)


def _images(pictures: Iterable[Picture]) -> Iterator[Item]:
    return (Item(picture.id, IMAGE, picture.name) for picture in pictures)


def _beside_the_pool(
    dataset: RetrievalDataset,
    selection: Selection,
    pool: dict[Modality, _Embedded],
    embed: Any,
    cache: Path,
) -> dict[Modality, _Embedded]:
    """Embed the documents of training labels that a smaller pool has not; they are never searched."""
    tried = {m: set(each.rows) | {failure.id for failure in each.shards.failures} for m, each in pool.items()}
    wanted = {modality: selection.labeled(modality) - tried[modality] for modality in pool}

    def texts() -> Iterator[Item]:
        return _texts(passage for passage in dataset.passages() if passage.id in wanted[TEXT])

    def images() -> Iterator[Item]:
        return _images(picture for picture in dataset.pictures() if picture.id in wanted[IMAGE])

    makers = {TEXT: texts, IMAGE: images}
    return {
        modality: _Embedded.of(embed(makers[modality], cache / f"labels-{modality}", title=f"Labels ({modality})"))
        for modality in pool
        if wanted[modality]
    }


def _arrays(
    selection: Selection, asked: _Embedded, bank: _Embedded, pool: dict[Modality, _Embedded]
) -> tuple[Arrays, int]:
    kept: list[int] = []
    pairs: list[tuple[int, str, int]] = []
    for question in selection.evaluated:
        found = [(modality, pool[modality].rows.get(key)) for modality, key in question.relevant]
        rows = [(modality, row) for modality, row in found if row is not None]
        if rows and question.id in asked.rows:
            pairs += [(len(kept), modality, row) for modality, row in rows]
            kept.append(asked.rows[question.id])
    if not pairs:
        raise InvalidInputError(
            "none of the relevant documents could be embedded, so nothing can be evaluated; look at the failures in "
            "the cache, and check that the pictures and texts belong to the questions"
        )
    number, modality, row = zip(*pairs, strict=True)
    arrays: Arrays = {
        "questions": asked.vectors[kept],
        "calibration_questions": bank.vectors,
        "texts": pool[TEXT].vectors,
        "images": pool[IMAGE].vectors,
        "relevant_question": np.array(number, dtype=np.int64),
        "relevant_modality": np.array(modality, dtype=np.str_),
        "relevant_index": np.array(row, dtype=np.int64),
    }
    return arrays, len(kept)


def _labels(
    selection: Selection, bank: _Embedded, pool: dict[Modality, _Embedded], beside: dict[Modality, _Embedded]
) -> tuple[Labeled, Arrays]:
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


def _notes(selection: Selection, pool: dict[Modality, _Embedded], evaluated: int) -> list[str]:
    notes = []
    for modality, each in pool.items():
        if failures := each.shards.failures:
            example = failures[0]
            notes.append(
                f"{len(failures):,} {modality} documents could not be embedded and are not in the pool, such as "
                f"{example.id}: {example.reason}"
            )
    if cut := count_cut(pool[IMAGE].shards):
        notes.append(f"{cut:,} picture files are cut short; they were read as far as they go, the rest is gray.")
    if lost := len(selection.evaluated) - evaluated:
        notes.append(f"{lost:,} questions were left out because no relevant document of theirs could be embedded.")
    if selection.left_out:
        notes.append(
            f"{selection.left_out:,} training questions were left out because an evaluated question has the same words."
        )
    return notes
