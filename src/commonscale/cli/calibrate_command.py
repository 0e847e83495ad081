"""``commonscale calibrate``: a common scale for the modalities of an index, from unlabeled questions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.cli.console import say, warn
from commonscale.cli.pictures import embed_pictures, read_pictures
from commonscale.cli.questions import read_questions
from commonscale.cli.scale_table import chosen, print_scale
from commonscale.core.calibration import Calibration
from commonscale.core.errors import CalibrationMismatchError, CommonscaleError, FileFormatError
from commonscale.core.living import LivingCalibration
from commonscale.core.methods import DEFAULT, UNLABELED, check_choice
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Modality, Question
from commonscale.embedding.manifest import has_shards
from commonscale.index import FaissIndex
from commonscale.index.opening import encoder_for, has_index, open_filled_index
from commonscale.index.scale import FILE, KIND_NAMES, bank_beside, scale_beside, scale_of, write_scale

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder


_SHORT = {TEXT: "questions", IMAGE: "pictures"}


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
    def missing(self) -> str | None:
        """The kind of questions that none is given of, which keeps its scale."""
        return None if self.texts and self.pictures else IMAGE if self.texts else TEXT


@dataclass(frozen=True)
class _Made:
    """A calibration that was written.

    Attributes:
        counts: how many documents there are, by modality.
        calibration: it.
        how: by kind of question, its method and why it was taken.
    """

    counts: dict[Modality, int]
    calibration: Calibration
    how: Mapping[str, str]


def calibrate(
    directory: Path,
    questions_file: Path | None,
    images: Path | None,
    method: str | None,
    encoder: str | None,
    device: str | None,
) -> None:
    """Calibrate an index, or shards of embeddings, and write ``calibration.json`` beside it.

    Args:
        directory: the index, or shards of embeddings.
        questions_file: see ``read_questions``; None for no questions in words.
        images: see ``read_pictures``; None for no pictures.
        method: see ``JointSearch.calibrate``. None for that of the kind of questions that is not given and keeps its
            scale, or the default if there is none.
        encoder: where the encoder is now, if it has moved.
        device: as for ``load_encoder``.

    Raises:
        CommonscaleError: if the index, the questions or the encoder cannot be used; nothing is then written.
    """
    if method is not None:
        check_choice(method)
    texts = [] if questions_file is None else read_questions(questions_file)
    asked = _Asked(texts, [] if images is None else read_pictures(images))
    shards = has_shards(directory) and not has_index(directory)
    made = (_of_shards if shards else _of_index)(directory, asked, method, encoder, device)
    for kind, how in made.how.items():
        scale = scale_of(made.calibration, kind)
        if scale is not None:
            print_scale(made.counts, scale, _SHORT[kind], how)
    say(f"Wrote {directory / FILE}.")


def _of_index(directory: Path, asked: _Asked, method: str | None, encoder: str | None, device: str | None) -> _Made:
    index = open_filled_index(directory)
    with index.exclusive():
        banked = _banked(index, asked.missing)
        kept = scale_of(scale_beside(index), asked.missing) if asked.missing else None
        sources, wanted = index.sources(), _wanted(method, kept)
        questions = asked.embedded(encoder_for(index, encoder, device)) + banked
        living = LivingCalibration.fit(questions, sources, method=wanted, provenance=index.provenance())
        calibration = write_scale(index, living)
    used = living.settings.method
    if banked and kept is not None and used != kept.method:
        say(
            f"An index has one method for all kinds of questions: {KIND_NAMES[banked[0].kind]}, which had "
            f"{kept.method!r}, were calibrated anew with {used!r}."
        )
    counts = {modality: len(index.documents(modality)) for modality in index.modalities}
    # Questions in words choose the method of both kinds, where there are any.
    deciding = [question for question in questions if question.kind == TEXT] or questions
    reason = chosen(wanted, used, deciding, sources)
    return _Made(counts, calibration, _how(asked, method, kept, calibration, {TEXT: reason, IMAGE: reason}))


def _banked(index: FaissIndex, kind: str | None) -> list[Question]:
    """Give the questions of a kind that the index was calibrated with before; none if there are none."""
    if kind is None:
        return []
    try:
        bank = bank_beside(index)
    except CommonscaleError as error:
        warn(f"the questions that the index was calibrated with cannot be used again: {error}")
        return []
    return [] if bank is None else list(bank.questions(kind))


def _wanted(method: str | None, kept: Calibration | None) -> str:
    """Give the method to take: that which is named, else that of the kept kind, else the default."""
    return method or (kept.method if kept is not None and kept.method in UNLABELED else DEFAULT)


def _how(
    asked: _Asked, method: str | None, kept: Calibration | None, made: Calibration, reasons: Mapping[str, str]
) -> dict[str, str]:
    """Say of each kind of questions which method it has, and why."""
    how = {}
    for kind in KIND_NAMES:
        scale = scale_of(made, kind)
        same = scale is not None and kept is not None and scale.method == kept.method
        if scale is None:
            continue
        if kind == asked.missing:
            how[kind] = f"{scale.method}, kept" if same else scale.method
        elif same and method is None:
            how[kind] = f"{scale.method}, as for the {_SHORT[asked.missing or kind]}"
        else:
            how[kind] = reasons[kind]
    return how


def _of_shards(directory: Path, asked: _Asked, method: str | None, encoder: str | None, device: str | None) -> _Made:
    """Calibrate on shards as they are; memory holds one batch of them."""
    from commonscale.cli.shards import encoder_of, shards_to_calibrate
    from commonscale.embedding import ShardSource

    shards = shards_to_calibrate(directory)
    questions = asked.embedded(encoder_of(shards, encoder, device))
    sources = ShardSource.all_of(shards)
    search = JointSearch(sources, provenance=ShardSource.provenance(shards))
    if asked.missing and (directory / FILE).exists():
        # The scale of the other kind of questions stays, if it fits these shards.
        with suppress(CalibrationMismatchError, FileFormatError):
            search.calibration = Calibration.load(directory / FILE)
    kept = scale_of(search.calibration, asked.missing) if asked.missing else None
    wanted = _wanted(method, kept)
    calibration = search.calibrate(questions, method=wanted)
    calibration.save(directory / FILE)
    reasons: dict[str, str] = {}
    for kind in {question.kind for question in questions}:
        own = [question for question in questions if question.kind == kind]
        scale = scale_of(calibration, kind)
        reasons[kind] = chosen(wanted, scale.method if scale is not None else wanted, own, sources)
    return _Made(shards.counts, calibration, _how(asked, method, kept, calibration, reasons))


def _embedded(texts: list[str], model: BatchedEncoder) -> list[Question]:
    say(f"Embedding {len(texts)} questions ...")
    return [Question(text, vector) for text, vector in zip(texts, model.encode_questions(texts), strict=True)]
