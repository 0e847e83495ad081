"""What ``commonscale calibrate`` prints of a scale: the method, why it was taken, and what the numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from commonscale.cli.console import output
from commonscale.core.background import WIDE
from commonscale.core.calibration import Calibration, ModalityCalibration
from commonscale.core.errors import UnreadableVectorsError
from commonscale.core.methods import AUTO, CENTERED, CENTERED_STANDARDIZED, CHANCE, LABELED, STANDARDIZED
from commonscale.core.own_documents import IDENTICAL
from commonscale.core.questions import QuestionBank
from commonscale.core.types import IMAGE, Modality, Question, Source

COLUMNS = {
    CHANCE: (
        "mean and std are of the questions' similarities with all documents, chance level is what the best of so many "
        "irrelevant ones would nominally reach. A score is the distance above the chance level in units of scale: most "
        "are negative, and only their order counts."
    ),
    STANDARDIZED: (
        "mean and std are of the cosines of each question's best hit, count is how many. A score is a cosine's "
        "distance above the mean in units of std: 0 is the best hit of an average question."
    ),
    CENTERED_STANDARDIZED: (
        "mean and std are of each question's best hit, count is how many; cosines are taken after subtracting the "
        "average question and document. A score is the distance above the mean in units of std."
    ),
    CENTERED: (
        "A score is the cosine after subtracting the average question and document. mean and std of each question's "
        "best hit, of which there are count, only describe it."
    ),
    LABELED: (
        "mean and std are of the cosines of questions with the documents that answer them, count is how many. A score "
        "is a cosine's distance above the mean in units of std."
    ),
}
"""What the columns are and how scores follow from them, by method."""


def print_scale(counts: Mapping[Modality, int], calibration: Calibration, kind: str, how: str) -> None:
    """Print a scale as a table, with its method above it and what the columns are below it.

    Args:
        counts: how many documents there are, by modality.
        calibration: the scale of one kind of questions.
        kind: of what, such as ``"questions"``.
        how: the method and why, see ``chosen``.
    """
    chance = calibration.method == CHANCE
    what = {CHANCE: "Background of all documents", LABELED: "Labeled pairs"}.get(calibration.method, "Best hits")
    table = Table()
    last = ("chance level", "scale") if chance else ("standard error", "count")
    for name in ("modality", "documents", "mean", "std", *last):
        table.add_column(name, justify="left" if name == "modality" else "right")
    for modality, entry in calibration.modalities.items():
        table.add_row(modality, str(counts[modality]), *_figures(entry))
    console = output()
    console.print(Text(f"{what} for {calibration.questions} {kind} ({how})", "italic"), soft_wrap=True)
    console.print(table)
    console.print(Text(COLUMNS[calibration.method]))


def _figures(entry: ModalityCalibration) -> list[str]:
    numbers, background = entry.statistics, entry.background
    if background is not None:
        return [f"{value:.4f}" for value in (background.mean, background.std, background.level, background.scale)]
    return [*(f"{value:.4f}" for value in (numbers.mean, numbers.std, numbers.standard_error)), str(numbers.count)]


def chosen(method: str, used: str, questions: Sequence[Question], sources: Mapping[Modality, Source]) -> str:
    """Name the method that was used, and why if the library chose it.

    Args:
        method: what was asked for.
        used: what was taken.
        questions: those that the choice was made by, all of one kind.
        sources: the documents.
    """
    if method != AUTO:
        return used
    return f"{AUTO}: {used}" if used == CHANCE else f"{AUTO}: {used}, since {_unsuited(questions, sources)}"


def _unsuited(questions: Sequence[Question], sources: Mapping[Modality, Source]) -> str:
    # A calibration does not hold what it was chosen by, so that is looked at again; it is chosen rarely.
    identical = IDENTICAL if questions[0].kind == IMAGE else None
    try:
        found = QuestionBank.fit(questions, sources, method=CHANCE, identical=identical).backgrounds
    except UnreadableVectorsError:
        return "the documents' vectors cannot be read"
    flat = [modality for modality, background in found.items() if background.flat]
    if flat:
        return f"there is one document of {flat[0]} only, or copies of one"
    wide = max(found, key=lambda modality: found[modality].std)
    return f"similarities of {wide} spread by {found[wide].std:.3f} around their mean (limit {WIDE})"
