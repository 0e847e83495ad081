"""A calibration in a few lines, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from commonscale.core.methods import LABELED

if TYPE_CHECKING:
    from commonscale.core.calibration import Calibration, ModalityCalibration

_MOST = 3
"""Lines for modalities, and strata in a line; what is beyond is counted."""


def summary(calibration: Calibration) -> str:
    """Say what a calibration holds, in a dozen lines at most.

    Args:
        calibration: the calibration.

    Returns:
        Method, number of questions and date; for each modality how many documents are known, location, scale and the
        mean and standard deviation of best hits; the strata with their sizes; the same of questions that are pictures.
    """
    labeled = "labeled pairs" if calibration.method == LABELED else "questions"
    asked = f" on {calibration.questions} {labeled}" if calibration.modalities else ""
    lines = [
        f"Calibration by {calibration.method!r}{asked}, {calibration.created:%Y-%m-%d %H:%M} UTC",
        *_scale(calibration),
    ]
    pictures = calibration.image_questions
    if pictures is not None:
        own = "" if pictures.method == calibration.method else f" by {pictures.method!r}"
        lines += [f"  {pictures.questions} questions that are pictures{own}:", *_scale(pictures)]
    return "\n".join(lines)


def _scale(calibration: Calibration) -> list[str]:
    lines = _some(_entries(calibration.modalities, calibration.method), "  ... and {} more modalities")
    if calibration.strata:
        sizes = [f"{key!r} ({one.questions})" for key, one in calibration.strata.items()]
        lines.append(f"  strata: {', '.join(_some(sizes, '{} more'))}")
    return lines


def _entries(modalities: Mapping[str, ModalityCalibration], method: str) -> list[str]:
    width = max(map(len, modalities), default=0)
    best = "labeled pairs" if method == LABELED else "best hits"
    return [
        f"  {modality:<{width}}  {_documents(entry)}location {entry.location:.4f}, scale {entry.scale:.4f}, "
        f"{best} {entry.statistics.mean:.4f} ± {entry.statistics.std:.4f}"
        for modality, entry in modalities.items()
    ]


def _documents(entry: ModalityCalibration) -> str:
    """Say how many documents are known; nothing of a scale that does not know them."""
    if entry.correction is not None:
        return f"{len(entry.correction.documents)} documents, "
    return "" if entry.background is None else f"{entry.background.documents} documents, "


def _some(lines: Iterable[str], rest: str) -> list[str]:
    lines = list(lines)
    return lines if len(lines) <= _MOST else [*lines[:_MOST], rest.format(len(lines) - _MOST)]
