"""What the page serves: an index with its encoder, its scale and a language model, whatever is wrong with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from commonscale.answering import Answerer, QuestionAnswering, Request
from commonscale.answering.opening import one_at_a_time, readable_folders
from commonscale.answering.retrieval import Encode
from commonscale.core.calibration import Calibration
from commonscale.core.errors import CommonscaleError, StaleCalibrationWarning
from commonscale.core.search import JointSearch
from commonscale.core.types import TEXT, Question
from commonscale.index import FaissIndex
from commonscale.index.opening import encoder_for, open_filled_index
from commonscale.index.scale import bank_beside, load_calibration
from commonscale.prompting import Budget, Pictures, PromptBuilder

THUMBNAIL = 512
"""Longest side of the pictures on the page, in pixels."""


@dataclass(eq=False)
class Library:
    """An index that questions are asked of.

    Attributes:
        directory: the folder of the index.
        index: its documents.
        joint: the search that all users share; its calibration may be swapped at any time.
        encode: embeds questions; safe to use from several threads.
        answerer: the language model; None for none, and then documents are found but nothing is answered.
        builder: decides what it is sent.
        pictures: makes the small pictures of the page.
        problems: sentences on what does not work, for the top of the page.
        questions: the questions that the index was calibrated with, as embeddings.
        asking: whether questions can be embedded at all.
    """

    directory: Path
    index: FaissIndex
    joint: JointSearch
    encode: Encode
    answerer: Answerer | None
    builder: PromptBuilder
    pictures: Pictures
    problems: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    asking: bool = True

    @property
    def name(self) -> str:
        """What to call it: the name of its folder, or of the one around it if that is just called index."""
        folder = self.directory.resolve()
        return folder.parent.name if folder.name == "index" else folder.name

    def search(self, calibration: Calibration | None) -> JointSearch:
        """Give the search with another scale, or the one that all share if there is none."""
        if calibration is None:
            return self.joint
        own = self.joint.only(*self.joint.sources)
        own.calibration = calibration
        return own

    def answering(self, calibration: Calibration | None = None) -> QuestionAnswering:
        """Give the way from question to answer, on a user's own scale if they have one."""
        answerer = Nobody() if self.answerer is None else self.answerer
        return QuestionAnswering(self.search(calibration), self.encode, answerer, builder=self.builder)


class Nobody:
    """Stands where a language model is missing, and says nothing."""

    name = ""

    def stream(self, request: Request) -> Iterator[str]:
        """Say nothing."""
        del request
        return iter(())


def open_library(
    directory: Path,
    answerer: Answerer | None,
    *,
    encoder: str | None = None,
    device: str | None = None,
    budget: Budget | None = None,
    folders: Iterable[Path] = (),
) -> Library:
    """Open an index for the page.

    What is wrong with its encoder or its calibration is told on the page, which works as far as it can.

    Args:
        directory: the folder of the index.
        answerer: the language model, None for none.
        encoder: where the encoder is now, if it has moved.
        device: as for ``load_encoder``.
        budget: what the model may be sent; None for all that is ranked.
        folders: where pictures may be read from beside the folder that was indexed.

    Raises:
        InvalidInputError: if there is no index, or nothing in it.
        FileFormatError: if it is damaged.
    """
    index = open_filled_index(directory, mmap=True)
    joint = JointSearch(index.sources(), provenance=index.provenance())
    readable = readable_folders(index, folders)
    library = Library(
        directory,
        index,
        joint,
        _refusing("the index is not open yet"),
        answerer,
        PromptBuilder(budget, Pictures(readable)),
        Pictures(readable, max_side=THUMBNAIL, cached=512),
    )
    _take_encoder(library, encoder, device)
    _take_calibration(library)
    return library


def _take_encoder(library: Library, name: str | None, device: str | None) -> None:
    try:
        library.encode = one_at_a_time(encoder_for(library.index, name, device).encode_questions)
    except (CommonscaleError, OSError) as error:
        library.encode, library.asking = _refusing(str(error)), False
        library.problems.append(f"Questions cannot be searched for: {error}")


def _take_calibration(library: Library) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", StaleCalibrationWarning)
        try:
            library.joint.calibration = load_calibration(library.index)
            bank = bank_beside(library.index)
            library.questions = [] if bank is None else list(bank.questions(TEXT))
        except (CommonscaleError, OSError) as error:
            library.problems.append(f"The calibration cannot be used, so documents are ranked by raw cosine: {error}")
    library.problems += [f"{warning.message}" for warning in told]


def _refusing(why: str) -> Encode:
    def refuse(texts: Sequence[str]) -> NDArray[Any]:
        del texts
        raise CommonscaleError(why)

    return refuse
