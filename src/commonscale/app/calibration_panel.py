"""The panel that shows the scale: numbers by modality, and histograms before and after."""

from __future__ import annotations

from dataclasses import dataclass

from commonscale.app.cards import label_of
from commonscale.app.histograms import HEIGHT, WIDTH, histogram
from commonscale.app.opening import Library
from commonscale.app.recalibrating import Progress
from commonscale.app.render import render
from commonscale.app.scores import BestScores
from commonscale.app.session import Session
from commonscale.core.calibration import Calibration
from commonscale.core.types import Modality


@dataclass(frozen=True, slots=True)
class Row:
    """One modality's line.

    Attributes:
        modality: as the index names it.
        label: as people read it.
        documents: how many there are.
        mean: of the best similarities of the questions.
        std: their standard deviation.
        location: what is subtracted, None where it is the mean.
        scale: what it is divided by, None where it is the standard deviation.
    """

    modality: Modality
    label: str
    documents: int
    mean: str
    std: str
    location: str | None
    scale: str | None


def panel(library: Library, session: Session, scores: BestScores | None) -> str:
    """Render the panel.

    Args:
        library: what is served.
        session: the user's page; their own scale is shown, if they have one.
        scores: of the questions that the index was calibrated with, for users without a scale of their own.
    """
    own = session.calibration is not None
    calibration = session.calibration if own else library.joint.calibration
    shown = session.scores if own else scores
    names = {modality: label_of(modality) for modality in library.index.modalities}
    charts = (
        []
        if shown is None
        else [
            ("Before", "raw cosine of", histogram(shown.before, names)),
            ("After", "score on the common scale of", histogram(shown.after, names)),
        ]
    )
    return render(
        "calibration",
        calibration=calibration if calibration is not None and calibration.modalities else None,
        own=own,
        directory=str(library.directory),
        rows=[] if calibration is None else _rows(library, calibration),
        charts=charts,
        names=names,
        width=WIDTH,
        height=HEIGHT,
    )


def progress(step: Progress) -> str:
    """Render how far a calibration is."""
    return render("progress", doing=step.doing, percent=round(100 * step.share))


def _rows(library: Library, calibration: Calibration) -> list[Row]:
    rows = []
    for modality, entry in calibration.modalities.items():
        level = entry.background is not None
        rows.append(
            Row(
                modality,
                label_of(modality),
                len(library.index.documents(modality)),
                f"{entry.statistics.mean:.3f}",
                f"{entry.statistics.std:.3f}",
                f"{entry.location:.3f}" if level else None,
                f"{entry.scale:.3f}" if level else None,
            )
        )
    return rows
