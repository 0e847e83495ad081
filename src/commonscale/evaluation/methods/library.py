"""The methods of this library, each through the search and calibration that applications use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.methods import CENTERED, CENTERED_STANDARDIZED, CHANCE, CORRECTED, STANDARDIZED
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Floats, Ranking
from commonscale.evaluation.benchmark import Benchmark

_TOGETHER = 256


def cosine(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank all documents by raw cosine (``Cos`` in Yamashita et al. 2025)."""
    return _joint(benchmark).search_batch(benchmark.asked, depth, raw=True)


def labeled(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Standardize with the statistics of labeled pairs (``Std``, Eq. 1-2)."""
    search = _joint(benchmark)
    search.calibration = Calibration.from_labeled_pairs(*_labeled_cosines(benchmark))
    return search.search_batch(benchmark.asked, depth)


def standardized(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Standardize with the best hits of unlabeled questions (Eq. 2-4)."""
    return _calibrated(benchmark, depth, STANDARDIZED)


def centered(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank by centred cosine (GR-CLIP, arXiv 2507.19054), with the means of the bank and of all documents."""
    return _calibrated(benchmark, depth, CENTERED)


def centered_standardized(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Standardize centred cosines with the best centred hits of unlabeled questions."""
    return _calibrated(benchmark, depth, CENTERED_STANDARDIZED)


def chance(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank by how far a hit lies above the best of chance, with centred cosines corrected for hubs."""
    return _calibrated(benchmark, depth, CHANCE)


def text_only(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank the texts alone: what text questions could reach without any image in the way."""
    return _joint(benchmark).only(TEXT).search_batch(benchmark.asked, depth, raw=True)


def image_only(benchmark: Benchmark, depth: int) -> list[Ranking]:
    """Rank the images alone: what image questions could reach without any text in the way."""
    return _joint(benchmark).only(IMAGE).search_batch(benchmark.asked, depth, raw=True)


def _calibrated(benchmark: Benchmark, depth: int, method: str) -> list[Ranking]:
    search = _joint(benchmark)
    search.calibrate(benchmark.bank, method=method)
    # Searches by corrected similarity fetch many more hits than they return; a part of the questions at a time
    # bounds what is in memory.
    step = _TOGETHER if method in CORRECTED else len(benchmark.asked)
    parts = [benchmark.asked[start : start + step] for start in range(0, len(benchmark.asked), step)]
    return [ranking for part in parts for ranking in search.search_batch(part, depth)]


def _joint(benchmark: Benchmark) -> JointSearch:
    return JointSearch(benchmark.sources)


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
