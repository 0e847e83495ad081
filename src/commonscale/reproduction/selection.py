"""Which questions are asked, which calibrate, and which documents they are asked of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.datasets import DatasetQuestion, Passage, Picture, RetrievalDataset
from commonscale.datasets.records import DocumentKey

Pool: TypeAlias = Literal["full", "context"]
"""``"full"``: every passage and picture of the corpus, as in the paper. ``"context"``: those that the data set shows
beside any question of the split that is evaluated: far fewer, so recall is far higher."""

_SEED = 0
_Document = TypeVar("_Document", Passage, Picture)


@dataclass(frozen=True)
class Sizes:
    """How much of a data set is used; all of it by default.

    Attributes:
        pool: which documents are searched.
        limit: most questions of each kind that are evaluated, and as many that calibrate; drawn at random with a
            fixed seed.
        training: most questions of each kind that calibrate, in place of ``limit``: the time of most methods grows with
            their number times that of the documents.
        documents: most documents of each modality beside the relevant ones, the first in the file.
    """

    pool: Pool = "full"
    limit: int | None = None
    training: int | None = None
    documents: int | None = None

    def __post_init__(self) -> None:
        if self.pool not in ("full", "context"):
            raise InvalidInputError(f"pool must be 'full' or 'context', got {self.pool!r}")
        for name in ("limit", "training", "documents"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InvalidInputError(f"{name} must be a whole number of at least 1, got {value!r}")

    @property
    def complete(self) -> bool:
        """Whether this is the paper's setting."""
        return self == Sizes()

    def __str__(self) -> str:
        parts = ["full pool" if self.pool == "full" else "context pool"]
        if self.documents is not None:
            parts.append(f"at most {self.documents:,} further documents of each modality")
        if self.limit is not None:
            parts.append(f"at most {self.limit:,} questions of each kind")
        if self.training is not None:
            parts.append(f"at most {self.training:,} training questions of each kind")
        return ", ".join(parts)


@dataclass(frozen=True)
class Selection:
    """The questions of an experiment, and how its documents are chosen.

    Attributes:
        evaluated: questions that are scored, each with relevant documents of one modality.
        calibration: questions of the training split; their labels serve only the method that needs labels.
        context: the documents of the context pool; None for the full one.
        documents: most documents of each modality beside the relevant ones.
        left_out: how many calibration questions were left out because an evaluated question has the same words.
    """

    evaluated: Sequence[DatasetQuestion]
    calibration: Sequence[DatasetQuestion]
    context: frozenset[DocumentKey] | None = None
    documents: int | None = None
    left_out: int = 0
    _needed: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for modality in (TEXT, IMAGE):
            ids = {key for question in self.evaluated for kind, key in question.relevant if kind == modality}
            self._needed[modality] = frozenset(ids)

    @classmethod
    def of(cls, dataset: RetrievalDataset, sizes: Sizes) -> Selection:
        """Choose: the questions that need texts only or pictures only, of the split that has relevant documents.

        Raises:
            InvalidInputError: if a split has no such questions.
            MissingDataError: if a file is missing.
        """
        context: set[DocumentKey] = set()
        asked: list[DatasetQuestion] = []
        for question in dataset.questions(dataset.evaluation_split):
            if sizes.pool == "context":
                context.update(question.context, question.relevant)
            if question.modality is not None and question.text:
                asked.append(question)
        evaluated = _some(asked, sizes.limit)
        words = {question.text.casefold() for question in asked}
        train = [q for q in dataset.questions("train") if q.modality is not None and q.text]
        disjoint = [question for question in train if question.text.casefold() not in words]
        if not evaluated or not disjoint:
            raise InvalidInputError(
                f"{dataset.name}: there are {len(evaluated)} questions to evaluate ({dataset.evaluation_split}) and "
                f"{len(disjoint)} to calibrate with (train) that need texts only or pictures only; at least one of "
                f"each is needed: check that the files are the published ones"
            )
        chosen = frozenset(context) if sizes.pool == "context" else None
        left_out = len(train) - len(disjoint)
        return cls(evaluated, _some(disjoint, sizes.training or sizes.limit), chosen, sizes.documents, left_out)

    def passages(self, dataset: RetrievalDataset) -> Iterator[Passage]:
        """Read the passages of the pool."""
        return self._chosen(dataset.passages(), TEXT)

    def pictures(self, dataset: RetrievalDataset) -> Iterator[Picture]:
        """Read the pictures of the pool."""
        return self._chosen(dataset.pictures(), IMAGE)

    def labeled(self, modality: Modality) -> frozenset[str]:
        """Give the ids of the documents that calibration questions are labeled with, in the pool or not."""
        return frozenset(key for q in self.calibration for kind, key in q.relevant if kind == modality)

    def _chosen(self, documents: Iterable[_Document], modality: Modality) -> Iterator[_Document]:
        others = 0
        for document in documents:
            if document.id not in self._needed[modality]:
                if self.context is not None and (modality, document.id) not in self.context:
                    continue
                others += 1
                if self.documents is not None and others > self.documents:
                    continue
            yield document


def counts_by_kind(questions: Sequence[DatasetQuestion]) -> dict[Modality, int]:
    """Count the questions that need each modality."""
    counts = Counter(question.modality for question in questions)
    return {modality: counts[modality] for modality in (TEXT, IMAGE)}


def _some(questions: Sequence[DatasetQuestion], limit: int | None) -> list[DatasetQuestion]:
    """Draw at most so many questions of each modality, and keep their order."""
    if limit is None:
        return list(questions)
    draw = np.random.default_rng(_SEED)
    kept: set[int] = set()
    for modality in (TEXT, IMAGE):
        rows = [row for row, question in enumerate(questions) if question.modality == modality]
        kept.update(draw.permutation(rows)[:limit].tolist() if rows else [])
    return [question for row, question in enumerate(questions) if row in kept]
