"""The page that shows the demonstration: one file, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core.extras import require
from commonscale.core.files import write_text_atomically
from commonscale.core.types import IMAGE, TEXT, Floats, Hit, Modality
from commonscale.demo.answers import ALL, ROWS, STANDARDIZED, WAYS, AnswerTable, answer_verdict
from commonscale.demo.measure import METHODS, SHOWN_METRICS
from commonscale.demo.report import (
    ANSWERS_FOOTNOTE,
    ANSWERS_TITLE,
    FOOTNOTE,
    KINDS,
    answer_cells,
    heading,
    verdict,
)
from commonscale.demo.wording import describe
from commonscale.demo.world import Entry, World

if TYPE_CHECKING:
    from commonscale.demo.results import DemoResult

TEMPLATE = Path(__file__).parent / "page.html.jinja"
BINS = 40


def write_page(path: Path, world: World, result: DemoResult) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the file.
        world: the world.
        result: what was measured.

    Raises:
        MissingExtraError: if jinja2 is not installed.
    """
    jinja2 = require("jinja2", "cli")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    write_text_atomically(path, template.render(**_content(world, result)))


def _content(world: World, result: DemoResult) -> dict[str, Any]:
    statistics = {m: result.calibration.statistics(m) for m in (TEXT, IMAGE)}
    return {
        "counts": result.counts,
        "questions": result.calibration.questions,
        "gap": result.gap,
        "means": {m: result.gap.mean(m) for m in (TEXT, IMAGE)},
        "statistics": statistics,
        "methods": METHODS,
        "metrics": {metric: heading(metric) for metric in SHOWN_METRICS},
        "kinds": {m: f"Questions whose {kind}" for m, kind in KINDS.items()},
        "table": result.table,
        "verdict": verdict(result.table),
        "footnote": FOOTNOTE,
        "answers": _answers(result.answers),
        "before": histogram(result.gap.best),
        "after": histogram(result.gap.standardized),
        "examples": [
            {
                "question": example.entry.question,
                "kind": KINDS[example.entry.modality],
                "columns": {
                    "By raw cosine": [_card(world, example.entry, hit) for hit in example.before],
                    "Standardized": [_card(world, example.entry, hit) for hit in example.after],
                },
            }
            for example in result.examples
        ],
    }


def _answers(table: AnswerTable) -> dict[str, Any]:
    blocks: dict[str, list[dict[str, Any]]] = {}
    for modality, kind in ROWS:
        name = f"Questions whose {KINDS[modality]}" if modality in KINDS else "All questions"
        blocks.setdefault(name, []).append(
            {"kind": kind, "cells": answer_cells(table, modality, kind), "total": kind == ALL}
        )
    return {
        "title": ANSWERS_TITLE,
        "ways": WAYS,
        "ours": WAYS.index(STANDARDIZED) + 1,
        "blocks": blocks,
        "verdict": answer_verdict(table),
        "footnote": ANSWERS_FOOTNOTE,
    }


def _card(world: World, entry: Entry, hit: Hit) -> dict[str, Any]:
    scene = world.scene_of(hit.id)
    picture = hit.modality == IMAGE
    return {
        "answer": hit.id in entry.documents,
        "source": _data_uri(Path(hit.payload.path)) if picture else None,
        "text": describe(scene) if picture else hit.payload.text,
        "cosine": hit.cosine,
        "score": hit.score,
    }


def _data_uri(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"


@dataclass(frozen=True)
class Histogram:
    """Two distributions over one axis, ready to be drawn in a box of 100 by 100.

    Attributes:
        outlines: by modality, the points of a polygon as SVG writes them.
        low: where the axis begins.
        high: where it ends.
    """

    outlines: Mapping[Modality, str]
    low: float
    high: float


def histogram(values: Mapping[Modality, Floats]) -> Histogram:
    """Count values of each modality in bins of one shared axis.

    Args:
        values: shape (n,) by modality, at least one value each.

    Returns:
        The histogram; every modality's highest bin reaches the top.
    """
    together = np.concatenate(list(values.values()))
    low, high = float(together.min()), float(together.max())
    outlines = {}
    for modality, own in values.items():
        counts, _ = np.histogram(own, bins=BINS, range=(low, high))
        outlines[modality] = _steps(counts / counts.max())
    return Histogram(outlines, low, high)


def _steps(heights: Floats | Sequence[float]) -> str:
    width = 100 / BINS
    corners = [(0.0, 100.0)]
    for number, height in enumerate(heights):
        y = 100 - 96 * float(height)
        corners += [(number * width, y), ((number + 1) * width, y)]
    corners.append((100.0, 100.0))
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)
