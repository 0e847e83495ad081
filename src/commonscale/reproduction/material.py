"""From shards and questions to the arrays of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import commonscale
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.datasets import RetrievalDataset
from commonscale.embedding.partitions import digest_of
from commonscale.evaluation import Benchmark
from commonscale.reproduction.arrays import write_arrays
from commonscale.reproduction.embedded import Embedded, asked_items, image_items, text_items
from commonscale.reproduction.embedding import count_cut, embed_items, identity_of
from commonscale.reproduction.labels import Labeled, embed_labels, labels_of
from commonscale.reproduction.selection import Selection

if TYPE_CHECKING:
    from commonscale.encoders import Encoder

Arrays = dict[str, npt.NDArray[Any]]


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


def make_material(
    dataset: RetrievalDataset,
    selection: Selection,
    encoder: Encoder,
    cache: Path,
    target: Path,
    *,
    retry_failed: bool = False,
    progress: bool = False,
) -> Material:
    """Embed a data set's questions and pool, and put them together.

    Args:
        dataset: the data set.
        selection: which questions and documents.
        encoder: embeds them.
        cache: where shards are kept.
        target: the ``.npz`` file that the benchmark is written to, for ``commonscale evaluate``.
        retry_failed: try again what an earlier run could not embed.
        progress: show progress bars on stderr.

    Raises:
        InvalidInputError: if no question has a relevant document that could be embedded.
        EncoderError: if the encoder cannot be used; what was embedded stays.
    """
    embed = partial(embed_items, encoder=encoder, retry_failed=retry_failed, progress=progress)
    asked = Embedded.of(embed(lambda: asked_items(selection.evaluated), cache / "questions", title="Questions"))
    bank = Embedded.of(
        embed(lambda: asked_items(selection.calibration), cache / "calibration", title="Training questions")
    )
    texts = Embedded.of(embed(lambda: text_items(selection.passages(dataset)), cache / "texts", title="Texts"))
    store = dataset.store
    images = Embedded.of(
        embed(
            lambda: image_items(selection.pictures(dataset)),
            cache / "images",
            title="Pictures",
            open_picture=store.open,
        )
    )
    pool = {TEXT: texts, IMAGE: images}
    beside = embed_labels(dataset, selection, pool, partial(embed, open_picture=store.open), cache)
    arrays, evaluated = _arrays(selection, asked, bank, pool)
    labeled, inside = labels_of(selection, bank, pool, beside)
    arrays.update(inside)
    write_arrays(target, arrays)
    rows = [bank.rows[question.id] for question in selection.calibration if question.modality == IMAGE]
    everything = [*pool.values(), *beside.values(), asked, bank]
    return Material(
        Benchmark.from_arrays(arrays, dataset.name),
        labeled,
        np.array(rows, dtype=np.int64),
        digest_of(commonscale.__version__, [identity_of(each.shards) for each in everything], _golds(selection)),
        _notes(selection, pool, evaluated),
    )


def _golds(selection: Selection) -> list[Any]:
    return [[question.id, question.relevant] for question in (*selection.evaluated, *selection.calibration)]


def _arrays(
    selection: Selection, asked: Embedded, bank: Embedded, pool: dict[Modality, Embedded]
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


def _notes(selection: Selection, pool: dict[Modality, Embedded], evaluated: int) -> list[str]:
    notes = []
    for modality, each in pool.items():
        if failures := each.shards.failures:
            example = failures[0]
            notes.append(
                f"{len(failures):,} {modality} documents could not be embedded and are not in the pool, such as "
                f"{example.id}: {example.reason} (--retry-failed tries them again)."
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
