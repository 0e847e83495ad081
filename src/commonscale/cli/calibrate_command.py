"""``commonscale calibrate``: a common scale for the modalities of an index, from unlabeled questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from commonscale.cli.console import output, say, warn
from commonscale.cli.opening import CALIBRATION, encoder_for, has_index, open_filled_index
from commonscale.cli.pictures import embed_pictures, read_pictures
from commonscale.cli.questions import read_questions
from commonscale.cli.scale import BANK, FILE, write_scale
from commonscale.core.calibration import Calibration, ModalityCalibration
from commonscale.core.errors import CalibrationMismatchError, CommonscaleError, FileFormatError
from commonscale.core.living import LivingCalibration
from commonscale.core.methods import CHANCE, check_choice
from commonscale.core.search import JointSearch
from commonscale.core.types import Modality, Question
from commonscale.embedding.manifest import has_shards
from commonscale.embedding.scan import sha256_of
from commonscale.index import FaissIndex

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder


@dataclass(frozen=True)
class _Asked:
    """What to calibrate with: questions in words, pictures that are questions, or both."""

    texts: list[str]
    pictures: list[Path]

    def embedded(self, model: BatchedEncoder) -> list[Question]:
        """Embed them; pictures that cannot be read are left out."""
        found = _embedded(self.texts, model) if self.texts else []
        return found + embed_pictures(self.pictures, model) if self.pictures else found

    @property
    def missing(self) -> list[str]:
        """The kinds of questions that none is given of."""
        return [kind for kind, given in (("text", self.texts), ("image", self.pictures)) if not given]


def calibrate(
    directory: Path,
    questions_file: Path | None,
    images: Path | None,
    method: str,
    encoder: str | None,
    device: str | None,
) -> None:
    """Calibrate an index, or shards of embeddings, and write ``calibration.json`` beside it.

    Args:
        directory: the index, or shards of embeddings.
        questions_file: see ``read_questions``; None for no questions in words.
        images: see ``read_pictures``; None for no pictures.
        method: see ``JointSearch.calibrate``.
        encoder: where the encoder is now, if it has moved.
        device: as for ``load_encoder``.

    Raises:
        CommonscaleError: if the index, the questions or the encoder cannot be used; nothing is then written.
    """
    check_choice(method)
    texts = [] if questions_file is None else read_questions(questions_file)
    asked = _Asked(texts, [] if images is None else read_pictures(images))
    if has_shards(directory) and not has_index(directory):
        counts, calibration = _of_shards(directory, asked, method, encoder, device)
    else:
        counts, calibration = _of_index(directory, asked, method, encoder, device)
    for scale in (calibration, calibration.image_questions):
        if scale is not None and scale.modalities:
            _print(counts, scale, "questions" if scale is calibration else "pictures")
    say(f"Wrote {directory / FILE}.")


def _of_index(
    directory: Path, asked: _Asked, method: str, encoder: str | None, device: str | None
) -> tuple[dict[Modality, int], Calibration]:
    index = open_filled_index(directory)
    with index.exclusive():
        questions = asked.embedded(encoder_for(index, encoder, device)) + _banked(index, asked.missing)
        living = LivingCalibration.fit(questions, index.sources(), method=method, provenance=index.provenance())
        calibration = write_scale(index, living)
    return {modality: len(index.documents(modality)) for modality in index.modalities}, calibration


def _banked(index: FaissIndex, kinds: Sequence[str]) -> list[Question]:
    """Give the questions of some kinds that the index was calibrated with before; none if there are none."""
    path = index.folder / BANK
    if not path.exists():
        return []
    try:
        bank = LivingCalibration.load(path, index.sources())
    except CommonscaleError as error:
        warn(f"the questions that the index was calibrated with cannot be used again: {error}")
        return []
    return [question for kind in kinds for question in bank.questions(kind)]


def _of_shards(
    directory: Path, asked: _Asked, method: str, encoder: str | None, device: str | None
) -> tuple[dict[Modality, int], Calibration]:
    """Calibrate on shards as they are; memory holds one batch of them."""
    from commonscale.cli.shards import encoder_of, shards_to_calibrate
    from commonscale.embedding import ShardSource

    shards = shards_to_calibrate(directory)
    questions = asked.embedded(encoder_of(shards, encoder, device))
    search = JointSearch(ShardSource.all_of(shards), provenance=ShardSource.provenance(shards))
    if asked.missing and (directory / FILE).exists():
        # The scale of the other kind of questions stays, if it fits these shards.
        with suppress(CalibrationMismatchError, FileFormatError):
            search.calibration = Calibration.load(directory / FILE)
    calibration = search.calibrate(questions, method=method)
    calibration.save(directory / FILE)
    return shards.counts, calibration


def _embedded(texts: list[str], model: BatchedEncoder) -> list[Question]:
    say(f"Embedding {len(texts)} questions ...")
    return [Question(text, vector) for text, vector in zip(texts, model.encode_questions(texts), strict=True)]


def _print(counts: Mapping[Modality, int], calibration: Calibration, kind: str) -> None:
    chance = calibration.method == CHANCE
    what = "Background of all documents" if chance else "Best hits"
    table = Table(title=f"{what} for {calibration.questions} {kind} ({calibration.method})", title_justify="left")
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
