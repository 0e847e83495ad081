"""The paper's look at the gap itself: Tables 5 and 6, and what Figures 4, 5, 6 and 14 show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.core.dense import nearest
from commonscale.core.files import write_text_atomically
from commonscale.core.types import IMAGE, TEXT, Floats, Modality
from commonscale.diagnostics.clouds import gaps, plane
from commonscale.diagnostics.shape import measure_shape
from commonscale.reproduction.arrays import write_arrays
from commonscale.reproduction.material import Material

_PICTURED = 1000
_EDGES = np.linspace(-1.0, 1.0, 401)
NUMBERS, ARRAYS = "gap.json", "gap.npz"


def measure_gap(material: Material, folder: Path) -> dict[str, Any]:
    """Measure the gap on the training questions, as the paper does; kept on disk like the methods' results.

    Args:
        material: questions, documents and labels.
        folder: where ``gap.json`` and ``gap.npz`` are kept; the latter holds what the figures show:
            ``difference``, ``cosines_<modality>``, ``plane_<cloud>``.

    Returns:
        ``table5``: mean skewness, over the questions that need pictures, of the cosines with all documents of a
        modality; ``table6``: mean and standard deviation (ddof 0) of the cosines of labeled pairs (``"labeled"``) and
        of the best hits of all training questions (``"standardized"``); ``gaps``: distances between the means of
        questions, texts and pictures. A value that is not defined (no labels, no such questions) is None.
    """
    if (folder / NUMBERS).exists() and (folder / ARRAYS).exists():
        known: dict[str, Any] = json.loads((folder / NUMBERS).read_text("utf-8"))
        if known["digest"] == material.digest:
            return known
    best = {
        modality: nearest(vectors, material.benchmark.calibration_questions, 1)[1][:, 0]
        for modality, vectors in material.benchmark.documents.items()
        if len(vectors)
    }
    labels = {modality: material.labeled.of(modality).cosines for modality in (TEXT, IMAGE)}
    table6 = {
        "labeled": {modality: _moments(cosines) for modality, cosines in labels.items()},
        "standardized": {modality: _moments(cosines) for modality, cosines in best.items()},
    }
    clouds = {"questions": material.benchmark.questions, **material.benchmark.documents}
    numbers = {
        "digest": material.digest,
        "table5": _skewness(material),
        "table6": table6,
        "gaps": {f"{gap.one}-{gap.other}": gap.distance for gap in gaps(clouds)},
    }
    arrays = {"difference": _difference(material, best), **{f"cosines_{m}": values for m, values in labels.items()}}
    arrays.update({f"plane_{name}": points for name, points in _plane(material).items()})
    write_arrays(folder / ARRAYS, arrays)
    write_text_atomically(folder / NUMBERS, json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    return numbers


def _moments(cosines: Floats) -> dict[str, float | int] | None:
    if not len(cosines):
        return None
    return {"mean": float(cosines.mean()), "std": float(cosines.std()), "count": len(cosines)}


def _skewness(material: Material) -> dict[Modality, float | None]:
    asked = material.benchmark.calibration_questions[material.image_rows]
    return {
        modality: measure_shape(asked, vectors, _EDGES).skewness if len(asked) and len(vectors) else None
        for modality, vectors in material.benchmark.documents.items()
    }


def _difference(material: Material, best: dict[Modality, Floats]) -> Floats:
    """Give, for each training question that needs pictures, mean standardized score of images minus that of texts.

    The mean over all documents is the question's product with their mean, so no document is visited twice.
    """
    asked = material.benchmark.calibration_questions[material.image_rows].astype(np.float64)
    if {TEXT, IMAGE} - set(best) or any(values.std() == 0 for values in best.values()):
        return np.empty(0)
    means = {}
    for modality, cosines in best.items():
        center = material.benchmark.documents[modality].mean(axis=0, dtype=np.float64)
        means[modality] = (asked @ center - cosines.mean()) / cosines.std()
    difference: Floats = means[IMAGE] - means[TEXT]
    return difference


def _plane(material: Material) -> dict[str, Floats]:
    """Place questions that need pictures, and their pictures, in the plane of the first two singular directions."""
    pairs = material.labeled.of(IMAGE)
    return plane({"questions": pairs.questions, "images": pairs.documents}, points=_PICTURED)
