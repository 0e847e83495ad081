"""Telling the files of calibrations apart, for whoever gives one to the wrong reader."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

_START = 64  # bytes, within which a calibration names its format

CALIBRATION = "a calibration: read it with Calibration.load(path)"
TABLES = (
    "the second file of a calibration, with its numbers of every document: read the .json file beside it that names "
    "it, with Calibration.load(path)"
)
LIVING = (
    "a living calibration: read it with LivingCalibration.load(path, sources), or let a retriever go on with it, "
    "retriever.keep_loaded(path)"
)


def kind_of(file: BinaryIO) -> str | None:
    """Say what a file is and what reads it.

    Args:
        file: the file, which is left at its start.

    Returns:
        ``CALIBRATION``, ``TABLES`` or ``LIVING``; None if it is none of them, or too damaged to tell.
    """
    start = file.read(_START)
    file.seek(0)
    if b'"commonscale.calibration"' in start:
        return CALIBRATION
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    finally:
        file.seek(0)
    if "description.npy" in names:
        return LIVING
    return TABLES if "0/hubs.npy" in names else None
