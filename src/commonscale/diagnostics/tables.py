"""The numbers of a diagnosis as cells of tables."""

from __future__ import annotations

from commonscale.core.methods import COSINE
from commonscale.diagnostics.diagnosis import Diagnosis
from commonscale.diagnostics.gains import METRICS
from commonscale.diagnostics.report import Table
from commonscale.diagnostics.words import group_name, plural, signed

NONE = "–"


def optional(value: float | None) -> str:
    """Write a number, or a dash where there is none."""
    return NONE if value is None else f"{value:.2f}"


def plain(value: float) -> str:
    """Write a number with three places, and a zero without a sign."""
    return f"{round(float(value), 3) + 0.0:.3f}"


def gap_rows(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    """Give every pair of clouds with its distance."""
    return [(_cloud(gap.one), _cloud(gap.other), f"{gap.distance:.3f}") for gap in diagnosis.gaps]


def gap_table(diagnosis: Diagnosis) -> Table:
    """Show the distances of the means."""
    rows = [(f"{one} – {other}", far) for one, other, far in gap_rows(diagnosis)]
    return Table(
        ("between", "distance"),
        rows,
        caption="Distance of the means of unit vectors",
        note="0: the means are one; about 0.8 is usual between CLIP's images and captions.",
    )


def spread_table(diagnosis: Diagnosis) -> Table:
    """Show the spread of each cloud."""
    return Table(
        ("cloud", "spread"),
        [(_cloud(name), f"{value:.3f}") for name, value in diagnosis.spreads.items()],
        caption="Root mean square distance from the own mean",
        note="0: all vectors are equal; 1: they point everywhere.",
    )


def shape_table(diagnosis: Diagnosis) -> Table:
    """Show mean, spread, skewness and hubness of every modality's scores, under every method."""
    rows = [
        (
            f"{method}: {plural(modality)}",
            *(plain(value) for value in (shape.mean, shape.std, shape.best.mean(), shape.best.std())),
            optional(shape.skewness),
            optional(shape.hubness),
            f"{shape.never:.0%}",
        )
        for method, view in diagnosis.methods.items()
        for modality, shape in view.shapes.items()
    ]
    return Table(
        ("scores", "mean", "std", "mean of best", "std of best", "skewness", "hubness", "never found"),
        rows,
        caption="Scores of questions with all documents",
        note="Standard deviation and skewness are taken for each question and averaged. Hubness is the skewness of how "
        "often each document is among the 10 best of a question, documents that never are included.",
    )


def scale_table(diagnosis: Diagnosis) -> Table:
    """Show what is subtracted and divided by, and how far the scales of two halves of the bank differ."""
    rows = [
        (f"{method}: {plural(modality)}", f"{scale.location:.3f}", f"{scale.scale:.3f}", optional(scale.halves))
        for method, view in diagnosis.methods.items()
        for modality, scale in view.scales.items()
        if method != COSINE
    ]
    apart = "; ".join(
        f"{method} {view.halves:.0%}" for method, view in diagnosis.methods.items() if view.halves is not None
    )
    note = f" Share of the first {diagnosis.k} hits that the halves do not share: {apart}." if apart else ""
    return Table(
        ("scale", "subtracted", "divided by", "halves differ by"),
        rows,
        caption="The scales",
        note=f"The last column is in units of score: two halves of the bank, calibrated apart.{note}",
    )


def share_table(diagnosis: Diagnosis) -> Table:
    """Show which modalities fill the first hits."""
    rows = []
    for method, view in diagnosis.methods.items():
        for group, shares in view.shares.items():
            cells = [
                f"{values[m]:.0%}" for m in diagnosis.modalities for values in (shares.hits, shares.any, shares.first)
            ]
            rows.append((f"{method}: {group_name(group)}", f"{shares.questions:,}", *cells))
    heads = [
        f"{plural(m)}: {what}"
        for m in diagnosis.modalities
        for what in ("share of hits", "questions with any", "first hit")
    ]
    total = sum(diagnosis.documents.values())
    corpus = ", ".join(f"{number / total:.0%} {plural(m)}" for m, number in diagnosis.documents.items())
    return Table(
        ("method", "questions", *heads),
        rows,
        caption=f"The first {diagnosis.k} hits",
        note=f"Of the documents: {corpus}.",
    )


def gain_tables(diagnosis: Diagnosis) -> list[Table]:
    """Show the metrics on held-out questions, one table for each group of questions; none without labels."""
    if not diagnosis.gains:
        return []
    tables = []
    groups = next(iter(diagnosis.gains.values()))
    for group, first in groups.items():
        rows = [(COSINE, *(f"{first[metric].before:.3f}" for metric in METRICS), "")]
        for method, gains in diagnosis.gains.items():
            values = [f"{gains[group][metric].value:.3f}" for metric in METRICS]
            rows.append((method, *values, signed(gains[group]["mrr@20"].difference)))
        ceiling = (diagnosis.ceilings or {}).get(group)
        if ceiling is not None:
            dashes = [NONE] * (len(METRICS) - 1)
            rows.append((f"{plural(group)} alone, by cosine", f"{ceiling:.3f}", *dashes, ""))
        heads = [metric.replace("mrr", "MRR").replace("ndcg", "nDCG").replace("recall", "Recall") for metric in METRICS]
        head = group_name(group)
        caption = f"{head[0].upper()}{head[1:]} ({first['mrr@20'].questions:,})"
        tables.append(Table(("method", *heads, "MRR@20 against cosine"), rows, caption=caption))
    return tables


def curve_table(diagnosis: Diagnosis, method: str) -> Table:
    """Show a learning curve."""
    curve = diagnosis.curves[method]
    heads = [f"{plural(m)}: {what}" for m in curve.wobble for what in ("location ±", "scale ±", "score ±")]
    rows = []
    for at, size in enumerate(curve.sizes):
        errors = [f"{value:.4f}" for rows_ in curve.wobble.values() for value in (rows_[at].location, rows_[at].scale)]
        scores = [f"{rows_[at].score:.3f}" for rows_ in curve.wobble.values()]
        cells = [cell for m, _ in enumerate(scores) for cell in (*errors[2 * m : 2 * m + 2], scores[m])]
        rows.append(
            (f"{size:,}", *cells, f"{curve.between[at]:.3f}", f"{curve.moved[at]:.1%}", f"{curve.changed[at]:.1%}")
        )
    strong = [curve.sizes.index(curve.enough)] if curve.enough is not None else []
    return Table(
        ("questions", *heads, "between modalities ±", "hits to another modality", "hits changed"),
        rows,
        caption=f"Learning curve: {method}",
        note="Standard errors (±) of the scale that is learned from so many questions, and how many of the first "
        f"{diagnosis.k} hits differ between two such banks.",
        strong=strong,
    )


def _cloud(name: str) -> str:
    return name if name == "questions" else plural(name)
