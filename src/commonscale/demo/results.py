"""What a run of the demonstration gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commonscale.core.calibration import Calibration
from commonscale.core.types import Modality, Ranking
from commonscale.demo.answers import AnswerTable
from commonscale.demo.measure import Gap, Table
from commonscale.demo.world import Entry


@dataclass(frozen=True)
class Example:
    """One question with its first hits before and after.

    Attributes:
        entry: the scene that is asked for.
        before: hits by raw cosine.
        after: hits by standardized score.
    """

    entry: Entry
    before: Ranking
    after: Ranking


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Everything that the demonstration measured.

    Attributes:
        table: mean metrics by method and kind of question.
        gap: the modality gap.
        calibration: the common scale.
        examples: the first questions of each kind.
        counts: how many documents of each modality.
        answers: what a small vision-language model answered from what was found.
        page: the page that shows it.
    """

    table: Table
    gap: Gap
    calibration: Calibration
    examples: tuple[Example, ...]
    counts: Mapping[Modality, int]
    answers: AnswerTable
    page: Path
