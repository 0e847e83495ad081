"""The diagnosis as plain data, for ``diagnosis.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commonscale.diagnostics.diagnosis import Diagnosis, MethodView
from commonscale.diagnostics.gains import Gain
from commonscale.diagnostics.histogram import Histogram
from commonscale.diagnostics.learning import LearningCurve
from commonscale.diagnostics.shape import ScoreShape
from commonscale.diagnostics.words import verdict

SCHEMA_VERSION = 1


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Give the diagnosis as dictionaries, lists, strings, finite numbers and None (see ``docs/diagnostics.md``)."""
    return {
        "settings": {"k": diagnosis.k, "seed": diagnosis.seed},
        "questions": {"bank": diagnosis.banked, "asked": diagnosis.asked, "held_out": diagnosis.held_out},
        "documents": dict(diagnosis.documents),
        "sampled_documents": dict(diagnosis.sampled),
        "gaps": [{"between": [gap.one, gap.other], "distance": gap.distance} for gap in diagnosis.gaps],
        "spread": dict(diagnosis.spreads),
        "best_cosine": {
            m: {"mean": s.mean, "std": s.std, "standard_error": s.standard_error, "count": s.count}
            for m, s in diagnosis.best.items()
        },
        "methods": {method: _view(view) for method, view in diagnosis.methods.items()},
        "skipped": dict(diagnosis.skipped),
        "gains": None if diagnosis.gains is None else {m: _gains(gains) for m, gains in diagnosis.gains.items()},
        "chance_against_standardized": None if diagnosis.versus is None else _gains(diagnosis.versus),
        "ceiling_mrr@20": None if diagnosis.ceilings is None else dict(diagnosis.ceilings),
        "wanted": None if diagnosis.wanted is None else dict(diagnosis.wanted),
        "learning_curves": {method: _curve(curve) for method, curve in diagnosis.curves.items()},
        "verdict": verdict(diagnosis),
    }


def _view(view: MethodView) -> dict[str, Any]:
    return {
        "scale": {m: {"location": s.location, "scale": s.scale, "halves": s.halves} for m, s in view.scales.items()},
        "scores": {modality: _shape(shape) for modality, shape in view.shapes.items()},
        "first_hits": {
            group: {
                "questions": shares.questions,
                "share": dict(shares.hits),
                "questions_with_any": dict(shares.any),
                "first": dict(shares.first),
            }
            for group, shares in view.shares.items()
        },
        "changed": view.changed,
        "changed_between_halves": view.halves,
    }


def _shape(shape: ScoreShape) -> dict[str, Any]:
    return {
        "mean": shape.mean,
        "std": shape.std,
        "skewness": shape.skewness,
        "hubness": shape.hubness,
        "never_found": shape.never,
        "all_documents": _histogram(shape.histogram.trimmed()),
        "best_hits": _histogram(Histogram.of(shape.best)),
    }


def _histogram(histogram: Histogram) -> dict[str, Any]:
    return {"edges": histogram.edges.tolist(), "counts": histogram.counts.tolist()}


def _gains(gains: Mapping[str, Mapping[str, Gain]]) -> dict[str, Any]:
    return {
        group: {
            metric: {
                "value": gain.value,
                "before": gain.before,
                "difference": gain.difference.value,
                "low": None if gain.difference.few else gain.difference.low,
                "high": None if gain.difference.few else gain.difference.high,
                "questions": gain.questions,
            }
            for metric, gain in by_metric.items()
        }
        for group, by_metric in gains.items()
    }


def _curve(curve: LearningCurve) -> dict[str, Any]:
    return {
        "sizes": list(curve.sizes),
        "standard_errors": {
            modality: {
                "location": [wobble.location for wobble in rows],
                "scale": [wobble.scale for wobble in rows],
                "score": [wobble.score for wobble in rows],
            }
            for modality, rows in curve.wobble.items()
        },
        "between_modalities": list(curve.between),
        "moved": list(curve.moved),
        "changed": list(curve.changed),
        "enough": curve.enough,
        "levels_off": curve.level,
    }
