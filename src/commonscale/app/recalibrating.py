"""Learning a scale from a pasted list of questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from commonscale.app.opening import Library
from commonscale.app.scores import BestScores, best_scores
from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.living import LivingCalibration
from commonscale.core.methods import DEFAULT, UNLABELED
from commonscale.core.types import Question
from commonscale.index.opening import open_filled_index
from commonscale.index.scale import write_scale

MOST = 5000
"""Most questions that can be pasted."""

LONGEST = 2000
"""Most characters of one."""

FEW = 30
"""Fewer different questions than this give a scale that the next ones would move."""

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
        doing: in words.
        share: from 0 to 1.
    """

    doing: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Recalibrated:
    """The new scale.

    Attributes:
        calibration: it.
        scores: of the questions that it was learned from; None if it is everybody's, whose page counts them.
        remark: what to know of it, empty for nothing.
    """

    calibration: Calibration
    scores: BestScores | None
    remark: str


def pasted(text: str) -> list[str]:
    """Read a pasted list: one question per line, blank lines are skipped.

    Raises:
        InvalidInputError: if there are none, too many, or one is too long.
    """
    lines = [line.strip() for line in text.split("\n")]
    questions = [line for line in lines if line]
    if not questions:
        raise InvalidInputError("there is no question; paste some, one per line, as users ask them")
    if len(questions) > MOST:
        raise InvalidInputError(f"these are {len(questions)} questions; the page takes {MOST}, so paste fewer")
    longest = max(questions, key=len)
    if len(longest) > LONGEST:
        raise InvalidInputError(f"a line has {len(longest)} characters, beginning {longest[:40]!r}; write one per line")
    return questions


def recalibrate(library: Library, text: str, *, save: bool) -> Iterator[Progress | Recalibrated]:
    """Learn a scale; nothing that others use changes, unless it is saved.

    Args:
        library: what is served.
        text: the pasted questions.
        save: whether to write the scale beside the index, and give it to everybody.

    Yields:
        How far it is, then once the new scale, which is then in use if it was saved.

    Raises:
        CommonscaleError: if the questions or the encoder cannot be used; the scale in use then stays.
    """
    texts = pasted(text)
    questions: list[Question] = []
    for start in range(0, len(texts), _BATCH):
        yield Progress(f"Embedding question {start + 1} of {len(texts)}", 0.8 * start / len(texts))
        some = texts[start : start + _BATCH]
        questions += [Question(t, v) for t, v in zip(some, library.encode(some), strict=True)]
    yield Progress("Searching for the best documents of each question", 0.8)
    made = _saved(library, questions) if save else _fitted(library, questions)
    if save:  # what is written is in use at once, whatever becomes of the page that asked for it
        library.questions = questions
        library.joint.calibration = made
    yield Progress("Counting scores", 0.95)
    scores = None if save else best_scores(library.search(made), questions)
    yield Recalibrated(made, scores, _remark(texts))


def _fitted(library: Library, questions: list[Question]) -> Calibration:
    search = library.joint.only(*library.joint.sources)
    return search.calibrate(questions, method=_method(library))


def _saved(library: Library, questions: list[Question]) -> Calibration:
    index = open_filled_index(library.directory)
    with index.exclusive():
        living = LivingCalibration.fit(
            questions, index.sources(), method=_method(library), provenance=index.provenance()
        )
        return write_scale(index, living)


def _method(library: Library) -> str:
    """Give the method of the scale that is in use, else the default one."""
    used = library.joint.calibration
    return used.method if used is not None and used.method in UNLABELED else DEFAULT


def _remark(texts: list[str]) -> str:
    different = len(set(texts))
    if different >= FEW:
        return ""
    return (
        f"This scale rests on {different} different question{'s' * (different != 1)}, and would move with the next "
        f"ones; give at least {FEW}, better 100."
    )
