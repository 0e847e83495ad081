"""Figures 4, 5, 6 and 14 of Yamashita et al. 2025, for one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commonscale.core.types import IMAGE, TEXT, Floats
from commonscale.diagnostics.figures import bars_figure, embedding_figure, histogram_figure
from commonscale.diagnostics.histogram import Histogram
from commonscale.diagnostics.report import Picture
from commonscale.diagnostics.theme import Theme
from commonscale.reproduction.arrays import read_arrays
from commonscale.reproduction.gap import ARRAYS
from commonscale.reproduction.measure import OURS, PAPER
from commonscale.reproduction.results import Run
from commonscale.reproduction.tables import KINDS, SETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 40


def figures(run: Run) -> list[Picture]:
    """Make the figures of a run, those left out that have nothing to show (a data set without labeled pairs).

    Args:
        run: of MultiModalQA or WebQA.
    """
    arrays = read_arrays(run.folder / ARRAYS)
    title = f"{SETS[run.dataset]}, {run.model}"
    cosines = {modality: arrays[f"cosines_{modality}"] for modality in (TEXT, IMAGE)}
    found = [_shares(run, title)]
    if len(arrays["difference"]):
        found.append(_difference(run, arrays["difference"], title))
    if len(arrays["plane_questions"]):
        found.append(_plane(run, arrays, title))
    if any(len(values) for values in cosines.values()):
        found += _positives(run, cosines, title)
    return found


def _difference(run: Run, values: Floats, title: str) -> Picture:
    histogram = {"image minus text": Histogram.of(values, _BINS)}

    def draw(theme: Theme) -> Figure:
        label = "mean standardized score, image minus text"
        return histogram_figure(histogram, xlabel=label, marks={"equal": 0.0}, title=title, theme=theme)

    return Picture(
        f"{run.folder.name}/figure-4",
        draw,
        f"Distribution over {len(values):,} questions, from {values.min():.2f} to {values.max():.2f}, "
        f"with a mean of {values.mean():.2f}.",
        "Figure 4. Mean standardized score of all images minus that of all texts, for each ImageQ of the "
        f"training split. Mean {values.mean():.2f}.",
    )


def _plane(run: Run, arrays: dict[str, Floats], title: str) -> Picture:
    clouds = {"questions": arrays["plane_questions"], IMAGE: arrays["plane_images"]}

    def draw(theme: Theme) -> Figure:
        return embedding_figure(clouds, title=title, theme=theme)

    return Picture(
        f"{run.folder.name}/figure-5",
        draw,
        "Questions and their pictures as two clouds in the plane of the first two singular directions.",
        f"Figure 5. {len(clouds[IMAGE]):,} ImageQ of the training split and their pictures; SVD, not centred.",
    )


def _positives(run: Run, cosines: dict[str, Floats], title: str) -> list[Picture]:
    known = {modality: values for modality, values in cosines.items() if len(values)}
    low, high = (min(v.min() for v in known.values()), max(v.max() for v in known.values()))
    histograms = {m: Histogram.of(values, _BINS, (float(low), float(high))) for m, values in known.items()}

    def draw(theme: Theme) -> Figure:
        return histogram_figure(histograms, xlabel="cosine of question and positive", title=title, theme=theme)

    means = ", ".join(f"{modality} {values.mean():.3f}" for modality, values in known.items())
    text = (
        "Cosines of the questions of the training split with their positive examples, by the positive's modality "
        f"(means: {means})."
    )
    where = "The paper shows it for MMQA with two models." if run.dataset == "mmqa" else "The paper shows MMQA only."
    return [
        Picture(f"{run.folder.name}/figure-6", draw, text, f"Figure 6. {text} {where}"),
        Picture(
            f"{run.folder.name}/figure-14",
            draw,
            text,
            "Figure 14. The panel of this model and data set: the same distributions as in Figure 6.",
        ),
    ]


def _shares(run: Run, title: str) -> Picture:
    methods = [name for name in (*PAPER, *OURS) if name in run.numbers["methods"]]
    kinds = [kind for kind in KINDS if kind in run.numbers["methods"]["cosine"]["images"]]
    groups = {KINDS[k]: {m: float(run.numbers["methods"][m]["images"][k]) for m in methods} for k in kinds}

    def draw(theme: Theme) -> Figure:
        return bars_figure(
            groups, xlabel="images among the first 20", colors=kinds, percent=True, title=title, theme=theme
        )

    return Picture(
        f"{run.folder.name}/shares",
        draw,
        "Share of images among the first 20 documents, by kind of question and method.",
        "Share of images among the first 20 documents (not in the paper).",
    )
