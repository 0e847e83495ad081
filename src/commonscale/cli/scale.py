"""The calibration beside an index, and the bank of questions by which it is brought up to date."""

from __future__ import annotations

from dataclasses import asdict

from commonscale.cli.console import say, warn
from commonscale.cli.opening import CALIBRATION
from commonscale.core.calibration import Calibration
from commonscale.core.errors import CommonscaleError
from commonscale.core.living import LivingCalibration
from commonscale.core.types import Question
from commonscale.embedding.scan import sha256_of
from commonscale.index import FaissIndex

FILE = "calibration.json"

BANK = "questions.npz"
"""The embeddings of the questions that the index was calibrated with, without their wording."""


def write_scale(index: FaissIndex, living: LivingCalibration) -> Calibration:
    """Write a calibration of an index and its bank, and save the index with a note of both.

    Args:
        index: the index; the caller holds its folder.
        living: the calibration.
    """
    living.calibration.save(index.folder / FILE)
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
    return living.calibration


def renew_scale(index: FaissIndex) -> None:
    """Bring the calibration of an index up to date, if its documents have changed since it was made.

    Everything is fitted anew on the banked questions, as 'commonscale calibrate' would: no question is embedded, and
    all vectors are read once. A calibration that was not made by 'commonscale calibrate' stays, and so does one of an
    index that is empty now.

    Args:
        index: the index, as it was saved; the caller holds its folder.
    """
    note = index.notes.get(CALIBRATION)
    files = (index.folder / FILE, index.folder / BANK)
    if not note or note.get("index") == index.content_hash or not len(index):
        return
    if not all(file.exists() for file in files) or [note.get("sha256"), note.get("bank")] != [*map(sha256_of, files)]:
        return
    try:
        living = _refitted(index, note["modalities"])
    except CommonscaleError as error:
        warn(f"the calibration could not be brought up to date: {error}")
        return
    write_scale(index, living)
    say(f"The calibration was brought up to date with the {living.calibration.questions} questions that it is of.")


def _refitted(index: FaissIndex, modalities: list[str]) -> LivingCalibration:
    living = LivingCalibration.load(index.folder / BANK, {m: index.source(m) for m in modalities})
    if set(modalities) == set(index.modalities):
        living.refit()
        return living
    # A modality has come, or has no documents any more.
    questions = [*living.questions("text"), *living.questions("image")]
    return LivingCalibration.fit(questions, index.sources(), provenance=index.provenance(), **asdict(living.settings))


def banked_questions(index: FaissIndex) -> list[Question]:
    """Give the questions in words that an index was calibrated with, as embeddings; none if they were not kept.

    Raises:
        FileFormatError: if their file is damaged.
    """
    note, file = index.notes.get(CALIBRATION), index.folder / BANK
    if not note or not file.exists() or note.get("bank") != sha256_of(file):
        return []
    living = LivingCalibration.load(file, {m: index.source(m) for m in note["modalities"]})
    return list(living.questions("text"))
