"""Where questions, texts and images lie: distances of their means, their spread, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from commonscale.core.dense import unit_rows
from commonscale.core.types import Floats, Vector
from commonscale.diagnostics.draws import generator

PICTURED = 600
"""Points of a cloud in the picture: more would hide each other."""


@dataclass(frozen=True, slots=True)
class Gap:
    """How far two clouds lie apart.

    Attributes:
        one: a cloud's name.
        other: another cloud's.
        distance: Euclidean distance of the means of their unit vectors, in [0, 2].
    """

    one: str
    other: str
    distance: float


def gaps(clouds: Mapping[str, Vector]) -> list[Gap]:
    """Measure the modality gap of all pairs of clouds.

    ``|mean(x) - mean(y)|`` over unit vectors x and y (Liang et al. 2022, "Mind the Gap": about 0.82 between CLIP's
    images and their captions). Questions are a cloud of their own: they lie apart from passages too.

    Args:
        clouds: vectors (n, d) of any norm by name; clouds without vectors are passed over, and so are pairs whose
            dimensions differ, since encoders of their own share no space.
    """
    means = {name: unit_rows(rows).mean(axis=0, dtype=np.float64) for name, rows in clouds.items() if len(rows)}
    return [
        Gap(one, other, float(np.linalg.norm(means[one] - means[other])))
        for one, other in combinations(means, 2)
        if means[one].shape == means[other].shape
    ]


def spread(rows: Vector) -> float:
    """Measure how far unit vectors lie from their mean: the root of the mean squared distance, in [0, 1].

    For unit vectors this is ``sqrt(1 - |mean|^2)``: 0 if all are equal, near 1 if they point everywhere.

    Args:
        rows: vectors (n, d) of any norm, n >= 1.
    """
    units = unit_rows(rows).astype(np.float64)
    return float(np.sqrt(((units - units.mean(axis=0)) ** 2).sum(axis=1).mean()))


def plane(clouds: Mapping[str, Vector], *, points: int = PICTURED, seed: int = 0) -> dict[str, Floats]:
    """Place clouds in the plane of their first two singular directions.

    The unit vectors are stacked and decomposed as they are, ``X = U S V^T``; a point is ``(U S)[:2]``. They are not
    centred, as in Liang et al. 2022: so the first direction is about that of the cone in which all vectors lie, and
    the second tells the clouds apart. (UMAP and t-SNE would exaggerate the separation.)

    Args:
        clouds: vectors (n, d) of any norm by name, all of one dimension.
        points: most points of a cloud; of more, a sample is drawn.
        seed: of the sample.

    Returns:
        Coordinates (n, 2) by name; 0 in a direction that does not exist. The signs are such that the first cloud with
        vectors has a mean of at least 0 in both directions.
    """
    draw = generator(seed, "plane")
    chosen = {name: unit_rows(_some(np.asarray(rows), points, draw)) for name, rows in clouds.items()}
    sizes = [len(rows) for rows in chosen.values()]
    filled = [rows.astype(np.float64) for rows in chosen.values() if len(rows)]
    if not filled:
        return {name: np.empty((0, 2)) for name in clouds}
    left, values, _ = np.linalg.svd(np.concatenate(filled), full_matrices=False)
    places = np.zeros((sum(sizes), 2))
    places[:, : min(2, len(values))] = left[:, :2] * values[:2]
    places *= np.where(places[: len(filled[0])].mean(axis=0) < 0, -1.0, 1.0)
    return dict(zip(chosen, np.split(places, np.cumsum(sizes)[:-1]), strict=True))


def _some(rows: Vector, most: int, draw: np.random.Generator) -> Vector:
    if len(rows) <= most:
        return rows
    return rows[np.sort(draw.choice(len(rows), most, replace=False))]
