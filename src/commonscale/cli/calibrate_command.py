"""``commonscale calibrate``: a common scale for the modalities of an index, from unlabeled questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from commonscale.cli.console import output, say, warn
from commonscale.cli.opening import CALIBRATION, encoder_for, has_index, open_filled_index
from commonscale.cli.questions import read_questions
from commonscale.cli.scale import FILE, write_scale
from commonscale.core.calibration import Calibration, ModalityCalibration
from commonscale.core.living import LivingCalibration
from commonscale.core.methods import CHANCE, check_method
from commonscale.core.search import JointSearch
from commonscale.core.types import Modality, Question
from commonscale.embedding.manifest import has_shards
from commonscale.embedding.scan import sha256_of
from commonscale.index import FaissIndex

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder


def calibrate(directory: Path, questions_file: Path, method: str, encoder: str | None, device: str | None) -> None:
    """Calibrate an index, or shards of embeddings, and write ``calibration.json`` beside it.

    Args:
        directory: the index, or shards of embeddings.
        questions_file: see ``read_questions``.
        method: see ``JointSearch.calibrate``.
        encoder: where the encoder is now, if it has moved.
        device: as for ``load_encoder``.

    Raises:
        CommonscaleError: if the index, the questions or the encoder cannot be used; nothing is then written.
    """
    check_method(method)
    texts = read_questions(questions_file)
    if has_shards(directory) and not has_index(directory):
        counts, calibration = _of_shards(directory, texts, method, encoder, device)
    else:
        counts, calibration = _of_index(directory, texts, method, encoder, device)
    _print(counts, calibration)
    say(f"Wrote {directory / FILE}.")


def _of_index(
    directory: Path, texts: list[str], method: str, encoder: str | None, device: str | None
) -> tuple[dict[Modality, int], Calibration]:
    index = open_filled_index(directory)
    with index.exclusive():
        questions = _embedded(texts, encoder_for(index, encoder, device))
        living = LivingCalibration.fit(questions, index.sources(), method=method, provenance=index.provenance())
        calibration = write_scale(index, living)
    return {modality: len(index.documents(modality)) for modality in index.modalities}, calibration


def _of_shards(
    directory: Path, texts: list[str], method: str, encoder: str | None, device: str | None
) -> tuple[dict[Modality, int], Calibration]:
    """Calibrate on shards as they are; memory holds one batch of them."""
    from commonscale.cli.shards import encoder_of, shards_to_calibrate
    from commonscale.embedding import ShardSource

    shards = shards_to_calibrate(directory)
    questions = _embedded(texts, encoder_of(shards, encoder, device))
    search = JointSearch(ShardSource.all_of(shards), provenance=ShardSource.provenance(shards))
    calibration = search.calibrate(questions, method=method)
    calibration.save(directory / FILE)
    return shards.counts, calibration


def _embedded(texts: list[str], model: BatchedEncoder) -> list[Question]:
    say(f"Embedding {len(texts)} questions ...")
    return [Question(text, vector) for text, vector in zip(texts, model.encode_questions(texts), strict=True)]


def _print(counts: Mapping[Modality, int], calibration: Calibration) -> None:
    chance = calibration.method == CHANCE
    what = "Background of all documents" if chance else "Best hits"
    table = Table(title=f"{what} for {calibration.questions} questions ({calibration.method})", title_justify="left")
    last = ("chance level", "scale") if chance else ("standard error", "count")
    for name in ("modality", "documents", "mean", "std", *last):
        table.add_column(name, justify="left" if name == "modality" else "right")
    for modality, entry in calibration.modalities.items():
        table.add_row(modality, str(counts[modality]), *_figures(entry))
    output().print(table)


def _figures(entry: ModalityCalibration) -> list[str]:
    numbers, background = entry.statistics, entry.background
    if background is not None:
        return [f"{value:.4f}" for value in (background.mean, background.std, background.level, background.scale)]
    return [*(f"{value:.4f}" for value in (numbers.mean, numbers.std, numbers.standard_error)), str(numbers.count)]


def load_calibration(index: FaissIndex) -> Calibration | None:
    """Read an index's calibration, and warn if the index is no longer the one that was calibrated.

    Args:
        index: the index.

    Returns:
        The calibration, None if there is none.

    Raises:
        FileFormatError: if the file is damaged.
    """
    path = index.folder / FILE
    if not path.exists():
        return None
    calibration = Calibration.load(path)
    note = index.notes.get(CALIBRATION)
    if not note or note.get("sha256") != sha256_of(path):
        warn(f"{path} was not written by 'commonscale calibrate' for this index: it may not fit its documents")
    elif note.get("index") != index.content_hash:
        warn(
            f"the documents of the index have changed since it was calibrated (it held {note.get('documents')} then, "
            f"and holds {len(index)} now); calibrate again: commonscale calibrate {index.folder} --questions FILE"
        )
    return calibration
