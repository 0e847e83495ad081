"""The parts of a diagnosis's page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from commonscale.core.methods import COSINE
from commonscale.core.types import Floats, Modality
from commonscale.diagnostics.diagnosis import Diagnosis
from commonscale.diagnostics.figures import (
    bars_figure,
    curve_figure,
    embedding_figure,
    histogram_figure,
    interval_figure,
)
from commonscale.diagnostics.gains import ALL
from commonscale.diagnostics.histogram import Histogram
from commonscale.diagnostics.learning import LIMIT, LearningCurve
from commonscale.diagnostics.report import Picture, Section
from commonscale.diagnostics.tables import (
    curve_table,
    gain_tables,
    gap_table,
    scale_table,
    shape_table,
    share_table,
    spread_table,
)
from commonscale.diagnostics.theme import QUESTIONS, Theme
from commonscale.diagnostics.words import group_name, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 40


def sections_of(diagnosis: Diagnosis, folder: str) -> list[Section]:
    """Give the parts of the page of one diagnosis.

    Args:
        diagnosis: the diagnosis.
        folder: where its figures go, relative to the page.
    """
    parts = [_where(diagnosis, folder), _scores(diagnosis, folder), _hits(diagnosis, folder)]
    if diagnosis.gains:
        parts.append(_held_out(diagnosis, folder))
    if diagnosis.curves:
        parts.append(_learning(diagnosis, folder))
    return parts


def _where(diagnosis: Diagnosis, folder: str) -> Section:
    # Questions last, on top: there are fewer of them, and passages would hide them.
    clouds = {name: diagnosis.points[name] for name in sorted(diagnosis.points, key=lambda name: name == QUESTIONS)}
    picture = Picture(
        f"{folder}/embedding",
        partial(_clouds, clouds),
        f"Points of {', '.join(clouds)} in the plane of the first two singular directions.",
        "Unit vectors in the plane of their first two singular directions, not centred: the first is about the "
        "direction that all share; where the gap is wide, the second tells the clouds apart.",
    )
    tables = [gap_table(diagnosis), spread_table(diagnosis)]
    return Section("Where they lie", tables=tables, pictures=[picture], beside=True)


def _scores(diagnosis: Diagnosis, folder: str) -> Section:
    pictures = []
    for method, view in diagnosis.methods.items():
        every = {m: shape.histogram.trimmed(BINS) for m, shape in view.shapes.items()}
        low = min(float(shape.best.min()) for shape in view.shapes.values())
        high = max(float(shape.best.max()) for shape in view.shapes.values())
        best = {m: Histogram.of(shape.best, BINS, (low, high)) for m, shape in view.shapes.items()}
        unit = "raw cosine" if method == COSINE else f"score ({method})"
        for kind, histograms in (("all documents", every), ("best hits", best)):
            pictures.append(
                Picture(
                    f"{folder}/{kind.replace(' ', '-')}-{method}",
                    partial(_histograms, histograms, f"{unit}, {kind}"),
                    f"Distribution of {unit} of {kind}, by modality.",
                    f"{method[0].upper()}{method[1:]}: scores of questions with "
                    f"{'all documents' if kind == 'all documents' else 'their best document of each modality'}.",
                )
            )
    return Section("How their scores are distributed", tables=[shape_table(diagnosis)], pictures=pictures)


def _hits(diagnosis: Diagnosis, folder: str) -> Section:
    total = sum(diagnosis.documents.values())
    pictures = [
        Picture(
            f"{folder}/share-{modality}",
            partial(_share_bars, diagnosis, modality, diagnosis.documents[modality] / total),
            f"Share of {plural(modality)} among the first {diagnosis.k} hits, by method and group of questions.",
            f"How many of the first {diagnosis.k} hits are {plural(modality)}, by method. The dashed line is their "
            f"share of all documents, which a draw at random would give.",
        )
        for modality in diagnosis.quiet
    ]
    return Section(
        "What fills the first hits", tables=[share_table(diagnosis), scale_table(diagnosis)], pictures=pictures
    )


def _held_out(diagnosis: Diagnosis, folder: str) -> Section:
    picture = Picture(
        f"{folder}/gains",
        partial(_gain_intervals, diagnosis),
        "Difference of MRR@20 from raw cosine, with intervals, by method and group of questions.",
        "MRR@20 less that of raw cosine on the same questions, with 95% intervals.",
    )
    how = {
        "file": "None of these questions calibrated.",
        "halves": "Each half of the questions was asked under the scale that the other half gave.",
        "none": "There is one question only, so it was asked under its own scale: nothing can be generalized.",
    }[diagnosis.held_out]
    return Section(
        "What it changes on held-out questions", paragraphs=[how], tables=gain_tables(diagnosis), pictures=[picture]
    )


def _learning(diagnosis: Diagnosis, folder: str) -> Section:
    pictures = []
    for method, curve in diagnosis.curves.items():
        pictures += [
            Picture(
                f"{folder}/questions-{method}",
                partial(_hits_curve, curve, diagnosis.k),
                f"Share of the first hits that differ between two banks, by their size ({method}).",
                f"{method[0].upper()}{method[1:]}: how much of the first {diagnosis.k} hits another bank of the same "
                f"size would change.",
            ),
            Picture(
                f"{folder}/wobble-{method}",
                partial(_score_curve, curve),
                f"Standard error of the scores of average best hits, by size of the bank ({method}).",
                f"{method[0].upper()}{method[1:]}: how much another bank of the same size would move the score of an "
                f"average best hit.",
            ),
        ]
    tables = [curve_table(diagnosis, method) for method in diagnosis.curves]
    return Section("How many questions are enough", tables=tables, pictures=pictures)


def _clouds(clouds: Mapping[str, Floats], theme: Theme) -> Figure:
    return embedding_figure(clouds, theme=theme)


def _histograms(histograms: Mapping[str, Histogram], xlabel: str, theme: Theme) -> Figure:
    return histogram_figure(histograms, xlabel=xlabel, theme=theme)


def _share_bars(diagnosis: Diagnosis, modality: Modality, corpus: float, theme: Theme) -> Figure:
    groups = list(next(iter(diagnosis.methods.values())).shares)
    shown = [group for group in groups if group != ALL] or groups
    bars = {
        group_name(group): {method: view.shares[group].hits[modality] for method, view in diagnosis.methods.items()}
        for group in shown
    }
    return bars_figure(
        bars,
        xlabel=f"{plural(modality)} among the first {diagnosis.k} hits",
        colors=[modality if group == ALL else group for group in shown],
        mark=(f"share of {plural(modality)} in all documents", corpus),
        percent=True,
        theme=theme,
    )


def _gain_intervals(diagnosis: Diagnosis, theme: Theme) -> Figure:
    gains = diagnosis.gains or {}
    groups = list(next(iter(gains.values())))
    rows = {
        group_name(group): {method: by_group[group]["mrr@20"].difference for method, by_group in gains.items()}
        for group in groups
    }
    return interval_figure(rows, xlabel="change of MRR@20 against raw cosine", colors=groups, theme=theme)


def _hits_curve(curve: LearningCurve, k: int, theme: Theme) -> Figure:
    lines = {"to another modality": curve.moved}
    if curve.changed != curve.moved:
        lines["changed in all"] = curve.changed
    return curve_figure(
        curve.sizes,
        {name: [100 * value for value in values] for name, values in lines.items()},
        xlabel="questions in the bank",
        ylabel=f"% of the first {k} hits",
        limit=(f"{LIMIT:.0%}", 100 * LIMIT),
        reached=None if curve.enough is None else (f"enough: {curve.enough:,}", curve.enough),
        theme=theme,
    )


def _score_curve(curve: LearningCurve, theme: Theme) -> Figure:
    lines = {modality: [wobble.score for wobble in rows] for modality, rows in curve.wobble.items()}
    return curve_figure(
        curve.sizes, lines, xlabel="questions in the bank", ylabel="standard error of scores", theme=theme
    )
