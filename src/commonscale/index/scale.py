"""The calibration beside an index, and the bank of questions by which it is brought up to date."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from commonscale.core.calibration import Calibration
from commonscale.core.errors import (
    CalibrationMismatchError,
    CommonscaleError,
    FileFormatError,
    NotCalibratedError,
    StaleCalibrationWarning,
)
from commonscale.core.living import LivingCalibration
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Question
from commonscale.core.warn import warn
from commonscale.embedding.scan import sha256_of
from commonscale.index.faiss_index import FaissIndex
from commonscale.index.opening import CALIBRATION

FILE = "calibration.json"

BANK = "questions.npz"
"""The embeddings of the questions that the index was calibrated with, without their wording."""

KIND_NAMES = {TEXT: "questions in words", IMAGE: "questions that are pictures"}
"""The kinds of questions, each of which has a scale of its own."""


def write_scale(index: FaissIndex, living: LivingCalibration) -> Calibration:
    """Write a calibration of an index and its bank, and save the index with a note of both.

    The scale of a kind of questions that are not in the bank stays as it is in the file.

    Args:
        index: the index; the caller holds its folder.
        living: the calibration.

    Returns:
        What was written.
    """
    calibration = _with_unbanked(index, living)
    calibration.save(index.folder / FILE)
    living.save(index.folder / BANK)
    # Only what was saved has an identity.
    index.save()
    note = {
        "sha256": sha256_of(index.folder / FILE),
        "bank": sha256_of(index.folder / BANK),
        "index": index.content_hash,
        "documents": len(index),
        "modalities": sorted(living.sources),
    }
    index.set_note(CALIBRATION, note)
    index.save()
    return calibration


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
        warn(
            f"{path} was not written by 'commonscale calibrate' for this index: it may not fit its documents",
            StaleCalibrationWarning,
        )
    elif note.get("index") != index.content_hash:
        warn(
            f"the documents of the index have changed since it was calibrated (it held {note.get('documents')} then, "
            f"and holds {len(index)} now); calibrate again: commonscale calibrate {index.folder} --questions FILE",
            StaleCalibrationWarning,
        )
    return calibration


def check_calibrated(directory: Path, calibration: Calibration | None, *, words: bool, pictures: bool) -> None:
    """Refuse to rank without a scale.

    Args:
        directory: the folder of the index.
        calibration: that of the index, None if there is none.
        words: whether questions in words are asked.
        pictures: whether pictures are.

    Raises:
        NotCalibratedError: naming the command that makes what is missing.
    """
    if words and (calibration is None or not calibration.modalities):
        raise NotCalibratedError(
            f"{directory}: not calibrated, so texts and pictures have no common scale yet; calibrate it with: "
            f"commonscale calibrate {directory} --questions FILE (one question per line, no labels), or rank by raw "
            f"cosine with --raw"
        )
    if pictures and (calibration is None or calibration.image_questions is None):
        raise NotCalibratedError(
            f"{directory}: not calibrated with pictures that are questions, which have a scale of their own; calibrate "
            f"it with: commonscale calibrate {directory} --images FOLDER (pictures as users ask with them, or a sample "
            f"of the indexed ones), or rank by raw cosine with --raw"
        )


def scale_beside(index: FaissIndex) -> Calibration | None:
    """Read the calibration beside an index, if there is one that fits it."""
    search = JointSearch(index.sources(), provenance=index.provenance())
    with suppress(FileNotFoundError, FileFormatError, CalibrationMismatchError):
        search.calibration = Calibration.load(index.folder / FILE)
    return search.calibration


def scale_of(calibration: Calibration | None, kind: str) -> Calibration | None:
    """Give the scale of a kind of questions, None if there is none."""
    scale = calibration if calibration is None or kind == TEXT else calibration.image_questions
    return scale if scale is not None and scale.modalities else None


def _with_unbanked(index: FaissIndex, living: LivingCalibration) -> Calibration:
    made, old = living.calibration, scale_beside(index)
    for kind in KIND_NAMES:
        kept = None if living.questions(kind) else scale_of(old, kind)
        if kept is not None:
            warn(
                f"the scale of {KIND_NAMES[kind]} stays as it is, whatever the index holds now: those that it was "
                f"learned from are not kept beside the index",
                StaleCalibrationWarning,
            )
            pictures = made.image_questions if kind == TEXT else kept
            made = replace(kept if kind == TEXT else made, image_questions=pictures)
    return made


def renew_scale(index: FaissIndex) -> Calibration | None:
    """Bring the calibration of an index up to date, if its documents have changed since it was made.

    Everything is fitted anew on the banked questions, as 'commonscale calibrate' would: no question is embedded, and
    all vectors are read once. A calibration that was not made by 'commonscale calibrate' stays, and so does one of an
    index that is empty now.

    Args:
        index: the index, as it was saved; the caller holds its folder.

    Returns:
        The calibration that was written; None if there was nothing to do, or it could not be done, which is warned of.
    """
    note = index.notes.get(CALIBRATION)
    files = (index.folder / FILE, index.folder / BANK)
    if not note or note.get("index") == index.content_hash or not len(index):
        return None
    if not all(file.exists() for file in files) or [note.get("sha256"), note.get("bank")] != [*map(sha256_of, files)]:
        return None
    try:
        living = _refitted(index, note["modalities"])
    except CommonscaleError as error:
        warn(f"the calibration could not be brought up to date: {error}", StaleCalibrationWarning)
        return None
    write_scale(index, living)
    return living.calibration


def _refitted(index: FaissIndex, modalities: list[str]) -> LivingCalibration:
    living = LivingCalibration.load(index.folder / BANK, {m: index.source(m) for m in modalities})
    if set(modalities) == set(index.modalities):
        living.refit()
        return living
    # A modality has come, or has no documents any more.
    questions = [*living.questions("text"), *living.questions("image")]
    return LivingCalibration.fit(questions, index.sources(), provenance=index.provenance(), **asdict(living.settings))


def bank_beside(index: FaissIndex) -> LivingCalibration | None:
    """Read the bank that the calibration of an index is of; None if it was not kept, or is of another calibration.

    Raises:
        FileFormatError: if it is damaged.
    """
    note, files = index.notes.get(CALIBRATION), (index.folder / FILE, index.folder / BANK)
    if not note or not all(file.exists() for file in files):
        return None
    if [note.get("sha256"), note.get("bank")] != [*map(sha256_of, files)]:
        return None
    return LivingCalibration.load(files[1], {m: index.source(m) for m in note["modalities"]})


def banked_questions(index: FaissIndex) -> list[Question]:
    """Give the questions in words that an index was calibrated with, as embeddings; none if they were not kept.

    Raises:
        FileFormatError: if their file is damaged.
    """
    bank = bank_beside(index)
    return [] if bank is None else list(bank.questions(TEXT))
