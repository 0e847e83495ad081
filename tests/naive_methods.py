"""Scores of all pairs of questions and documents, computed from the definitions."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

METHODS = ["centered", "centered+standardized", "chance"]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive(data: Mapping[str, np.ndarray], method: str) -> dict[str, np.ndarray]:
    """Scores (asked, n) of all pairs by modality, from the definitions."""
    mu_q = data["bank"].astype(float).mean(axis=0)
    bank, asked = (unit(data[k].astype(float) - mu_q) for k in ("bank", "asked"))
    scores = {}
    for m in ("text", "image"):
        documents = unit(data[m].astype(float) - data[m].astype(float).mean(axis=0))
        of_bank, found = bank @ documents.T, asked @ documents.T
        if method == "chance":
            hubs = np.array([np.sort(column)[-10:].mean() for column in of_bank.T])
            of_bank, found = of_bank - 0.5 * hubs, found - 0.5 * hubs
            deviation = np.mean([line.std() for line in of_bank])
            level = of_bank.mean() + deviation * NormalDist().inv_cdf(1 - 1e-5 / len(documents))
            found = (found - level) / np.sqrt(deviation)
        elif method == "centered+standardized":
            best = of_bank.max(axis=1)
            found = (found - best.mean()) / best.std()
        scores[m] = found
    return scores
