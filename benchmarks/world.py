"""The vectors that every benchmark searches: random, clustered, of low rank, the same on every run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """What is searched.

    Attributes:
        texts: number of passages.
        images: number of pictures.
        dimension: length of the vectors.
        rank: dimensions in which they really vary.
        clusters: topics that passages, pictures and questions share.
        gap: how far passages and pictures lie apart, against a spread of 1.
        calibration: number of unlabeled calibration questions.
        k: hits per question.
        seed: of the random generator.
        method: of calibration.
    """

    texts: int = 20_000
    images: int = 5_000
    dimension: int = 512
    rank: int = 64
    clusters: int = 200
    gap: float = 1.0
    calibration: int = 2_000
    k: int = 20
    seed: int = 20_251_122
    method: str = "standardized"


@dataclass(frozen=True, eq=False)
class World:
    """Unit vectors, float32, one row per item."""

    texts: Vectors
    images: Vectors
    questions: Vectors
    calibration: Vectors


def make_world(settings: Settings, questions: int) -> World:
    """Draw a world.

    Topics are normal in ``rank`` dimensions; an item is its topic plus noise, turned into ``dimension``
    dimensions, plus a constant offset of its modality, scaled to norm 1.

    Args:
        settings: sizes and seed.
        questions: how many questions to ask.
    """
    rng = np.random.default_rng(settings.seed)
    topics = rng.standard_normal((settings.clusters, settings.rank))
    basis = np.linalg.qr(rng.standard_normal((settings.dimension, settings.rank)))[0].T
    offset = rng.standard_normal(settings.dimension)
    offset *= settings.gap * np.sqrt(settings.rank) / np.linalg.norm(offset)

    def draw(count: int, side: float) -> Vectors:
        points = topics[rng.integers(0, settings.clusters, count)] + 0.7 * rng.standard_normal((count, settings.rank))
        rows = points @ basis + side * offset
        unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return np.ascontiguousarray(unit)

    return World(
        texts=draw(settings.texts, 0.5),
        images=draw(settings.images, -0.5),
        questions=draw(questions, 0.5),
        calibration=draw(settings.calibration, 0.5),
    )
