"""Benchmarks with a modality gap, small enough to be ranked by loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from commonscale.evaluation import Benchmark

DIMENSION = 16


def gapped(
    seed: int = 0, questions: int = 40, texts: int = 60, images: int = 50, gap: float = 2.0, **changes: Any
) -> dict[str, Any]:
    """The arrays of a benchmark: pictures lie away from questions and passages."""
    rng = np.random.default_rng(seed)
    away = np.zeros(DIMENSION)
    away[0] = gap
    topics = rng.standard_normal((max(texts, images), DIMENSION)) * 0.6
    asked = rng.integers(0, min(texts, images), questions)
    parts = {
        "questions": topics[asked] + away + 0.3 * rng.standard_normal((questions, DIMENSION)),
        "calibration_questions": topics[:texts] + away + 0.3 * rng.standard_normal((texts, DIMENSION)),
        "texts": topics[:texts] + away,
        "images": topics[:images] - away,
        "relevant_question": np.arange(questions),
        "relevant_modality": np.array(["text", "image"])[np.arange(questions) % 2],
        "relevant_index": asked,
    }
    parts.update(changes)
    return parts


def labels_of(parts: dict[str, Any]) -> dict[str, Any]:
    """Calibration question i belongs to passage i, every third one to picture i."""
    count = min(len(parts["texts"]), len(parts["images"]))
    return {
        "calibration_relevant_question": np.arange(count),
        "calibration_relevant_modality": np.where(np.arange(count) % 3 == 0, "image", "text"),
        "calibration_relevant_index": np.arange(count),
    }


def unrelated(seed: int, questions: int = 25, texts: int = 40, images: int = 30, **sizes: int) -> Benchmark:
    """A benchmark of vectors drawn apart, with a gap, where nothing belongs together."""
    rng = np.random.default_rng(seed)
    gap = np.eye(DIMENSION)[0]

    def draw(count: int, side: float) -> Any:
        return rng.standard_normal((count, DIMENSION)) * 0.5 + side * gap

    return Benchmark.from_arrays(
        {
            "questions": draw(questions, 0.5),
            "calibration_questions": draw(sizes.get("bank", 35), 0.5),
            "texts": draw(texts, 0.6),
            "images": draw(images, -0.4),
            "relevant_question": np.arange(questions),
            "relevant_modality": np.repeat("text" if texts else "image", questions),
            "relevant_index": np.zeros(questions, dtype=np.int64),
        }
    )
