"""The methods that a benchmark compares: a table of names and of functions that rank.

Each goes through the search and calibration that applications use, over exact sources. To add a method, write a
function from a benchmark and a depth to one ranking per question, and give it a row in ``METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from commonscale.core.calibration import Calibration
from commonscale.core.dense import nearest
from commonscale.core.errors import InvalidInputError
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Candidates, Floats, Modality, Question, Ranking, Vector
from commonscale.evaluation.benchmark import MODALITIES, Benchmark


class VectorSource:
    """Exact search of unit vectors held in memory; equal cosines stay in the order of the rows."""

    concurrent: ClassVar[bool] = True
    """May be searched beside other sources: its vectors are only read."""

    def __init__(self, modality: Modality, vectors: Vector) -> None:
        """Set up the source.

        Args:
            modality: its modality; row 7 of the texts gets the id ``"text:7"``.
            vectors: unit vectors (n, d).
        """
        self.modality = modality
        self.vectors = vectors

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the ``k`` rows closest to each question; see ``commonscale.Source``."""
        asked = np.stack([question.vector_for(self.modality) for question in questions])
        rows, cosines = nearest(self.vectors, asked, k)
        ids = [[document_id(self.modality, row) for row in found] for found in rows.tolist()]
        return [Candidates(names, found) for names, found in zip(ids, cosines, strict=True)]


def document_id(modality: Modality, row: int) -> str:
    """Give the id of a benchmark's document, such as ``"image:12"``."""
    return f"{modality}:{row}"


def cosine(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank all documents by raw cosine (``Cos`` in Yamashita et al. 2025)."""
    return _joint(benchmark).search_batch(_questions(benchmark.questions), depth, raw=True)


def labeled(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Standardize with the statistics of labeled pairs (``Std``, Eq. 1-2)."""
    search = _joint(benchmark)
    search.calibration = Calibration.from_labeled_pairs(*_labeled_cosines(benchmark))
    return search.search_batch(_questions(benchmark.questions), depth)


def standardized(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Standardize with the best hits of unlabeled questions (Eq. 2-4)."""
    search = _joint(benchmark)
    search.calibrate(_questions(benchmark.calibration_questions))
    return search.search_batch(_questions(benchmark.questions), depth)


def text_only(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank the texts alone: what text questions could reach without any image in the way."""
    return _joint(benchmark, TEXT).search_batch(_questions(benchmark.questions), depth, raw=True)


def image_only(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank the images alone: what image questions could reach without any text in the way."""
    return _joint(benchmark, IMAGE).search_batch(_questions(benchmark.questions), depth, raw=True)


def _joint(benchmark: Benchmark, *modalities: Modality) -> JointSearch:
    chosen = modalities or MODALITIES
    return JointSearch({modality: VectorSource(modality, benchmark.documents[modality]) for modality in chosen})


def _questions(vectors: Vector) -> list[Question]:
    return [Question(vector=vector) for vector in vectors]


def _labeled_cosines(benchmark: Benchmark) -> tuple[Floats, npt.NDArray[np.str_]]:
    """Give the cosine and the modality of every labeled pair of a calibration question and its document."""
    pairs = benchmark.calibration_relevant
    if pairs is None:
        raise InvalidInputError(f"{benchmark.name}: has no calibration_relevant_* arrays, which this method needs")
    cosines = np.empty(len(pairs), dtype=np.float64)
    for modality, vectors in benchmark.documents.items():
        of = pairs.modalities == modality
        asked = benchmark.calibration_questions[pairs.questions[of]].astype(np.float64)
        cosines[of] = (asked * vectors[pairs.documents[of]]).sum(axis=1)
    return cosines, pairs.modalities


def _has_questions(benchmark: Benchmark) -> bool:
    return len(benchmark.calibration_questions) > 0


def _has_labels(benchmark: Benchmark) -> bool:
    """Tell whether labeled pairs cover every modality that has documents."""
    pairs = benchmark.calibration_relevant
    filled = {modality for modality, vectors in benchmark.documents.items() if len(vectors)}
    return pairs is not None and filled <= set(pairs.modalities.tolist())


def _always(_: Benchmark) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Method:
    """One way to rank a benchmark's documents.

    Attributes:
        rank: from a benchmark and a depth to the best ``depth`` documents of every question.
        applies: whether a benchmark has what the method needs; where it has not, the method is left out.
        ceiling_of: the modality this is the ceiling of: no method that keeps the order within a modality ranks the
            relevant documents of that modality higher. None for methods that rank all documents.
    """

    rank: Callable[[Benchmark, int], list[Ranking]]
    applies: Callable[[Benchmark], bool] = _always
    ceiling_of: Modality | None = None


METHODS: dict[str, Method] = {
    "cosine": Method(cosine),
    "labeled": Method(labeled, applies=_has_labels),
    "standardized": Method(standardized, applies=_has_questions),
    "text-only": Method(text_only, ceiling_of=TEXT),
    "image-only": Method(image_only, ceiling_of=IMAGE),
}
"""Every method by name, in the order of the tables."""
