"""Tables 3 to 6 of Yamashita et al. 2025: the published number and ours in one cell, with the paper's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from commonscale.core.types import IMAGE, TEXT
from commonscale.diagnostics.report import Table
from commonscale.reproduction.measure import OURS
from commonscale.reproduction.published import METHODS, MODELS, published
from commonscale.reproduction.results import Run, stands_for

SETS = {"mmqa": "MMQA", "webqa": "WebQA"}
KINDS = {TEXT: "TextQ", IMAGE: "ImageQ"}
NONE = "–"
BETWEEN = "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}"
"""Between the numbers of a cell, which stay on one line."""

LEGEND = (
    "Each cell: as published / as measured here. A dash: not published, or not run here. Cos, Std and Ours are the "
    "paper's words for cosine, labeled and standardized; * marks methods that the paper has not."
)
_FIGURES = {"recall@20": "Recall@20", "mrr@20": "MRR@20", "ndcg@20": "NDCG@20"}
_RECALLS = {f"recall@{k}": f"R@{k}" for k in (1, 5, 20, 100)}
_CEILING = {TEXT: "text-only", IMAGE: "image-only"}

Lookup = Callable[[Run], "float | None"]
Cell = tuple[Any, Lookup, str]
"""The published value or None, how to find ours in a run, and the data set."""


def models(runs: Sequence[Run]) -> list[str]:
    """List the paper's models in its order, then any others that were run."""
    others = {run.model for run in runs if run.dataset in SETS} - set(MODELS)
    return [*MODELS, *sorted(others)]


def table_3(runs: Sequence[Run]) -> Table:
    """Recall@20, MRR@20 and NDCG@20 of both kinds of questions."""

    def cells(model: str, label: str, method: str | None) -> Iterator[Cell]:
        of_model = published()["table3"].get(model, {}).get(label, {})
        for dataset in SETS:
            for kind in KINDS:
                for figure in _FIGURES:
                    value = of_model.get(dataset, {}).get(kind, {}).get(figure)
                    yield value, _percent(method or _CEILING[kind], kind, figure), dataset

    columns = [
        f"{name} {kind} {figure}" for name in SETS.values() for kind in KINDS.values() for figure in _FIGURES.values()
    ]
    rows = [row for model in models(runs) for row in _method_rows(runs, model, cells, tuple(METHODS), ceiling=True)]
    return Table(
        ["model", "method", *columns],
        rows,
        "Table 3. Overall retrieval results (percent)",
        f"{LEGEND} The ceiling ranks documents of the right kind alone by cosine. Recall is the fraction of a "
        "question's relevant documents that is found.",
    )


def table_4(runs: Sequence[Run]) -> Table:
    """Recall at four depths for questions that need pictures."""

    def cells(model: str, label: str, method: str | None) -> Iterator[Cell]:
        of_model = published()["table4"].get(model, {}).get(label, {})
        for dataset in SETS:
            for figure in _RECALLS:
                value = of_model.get(dataset, {}).get(figure)
                yield value, _percent(method or _CEILING[IMAGE], IMAGE, figure), dataset

    columns = [f"{name} {figure}" for name in SETS.values() for figure in _RECALLS.values()]
    rows = [row for model in models(runs) for row in _method_rows(runs, model, cells, ("Cos", "Ours"), ceiling=True)]
    return Table(["model", "method", *columns], rows, "Table 4. Recall@k on ImageQ (percent)", LEGEND)


def table_5(runs: Sequence[Run]) -> Table:
    """Skewness of the cosines of questions that need pictures with all documents of a modality."""
    rows = []
    for model in models(runs):
        of_model = published()["table5"].get(model, {})
        cells = [
            (of_model.get(dataset, {}).get(modality), _skewness(modality), dataset)
            for dataset in SETS
            for modality in KINDS
        ]
        rows.append([model, *_shown(runs, model, cells, "{:.2f}")])
    columns = [f"{name} {modality}" for name in SETS.values() for modality in ("Text", "Image")]
    caption = "Table 5. Average skewness of cosine similarities, ImageQ of the training split"
    return Table(["model", *columns], rows, caption, LEGEND)


def table_6(runs: Sequence[Run]) -> Table:
    """Mean and standard deviation that scores are standardized with."""
    rows = []
    for model in models(runs):
        for label in ("Std", "Ours"):
            of_model = published()["table6"].get(model, {}).get(label, {})
            cells = [
                (
                    of_model.get(dataset, {}).get(modality, {}).get(part),
                    _moment(METHODS[label], modality, part),
                    dataset,
                )
                for dataset in SETS
                for modality in KINDS
                for part in ("mean", "std")
            ]
            rows.append([model, label, *_shown(runs, model, cells, "{:.3f}")])
    columns = [
        f"{name} {modality} {part}"
        for name in SETS.values()
        for modality in ("Text", "Image")
        for part in ("Mean", "Std")
    ]
    caption = "Table 6. Modality-specific mean and standard deviation"
    return Table(["model", "method", *columns], rows, caption, LEGEND)


def _method_rows(
    runs: Sequence[Run],
    model: str,
    cells: Callable[[str, str, str | None], Iterator[Cell]],
    labels: Sequence[str],
    *,
    ceiling: bool,
) -> Iterator[list[str]]:
    """Give the paper's rows of a model, and if it was run those of methods that the paper has not."""
    for label in labels:
        yield [model, label, *_shown(runs, model, list(cells(model, label, METHODS[label])), "{:.2f}")]
    if any(stands_for(runs, dataset, model) for dataset in SETS):
        for method in OURS:
            yield [model, f"{method} *", *_shown(runs, model, list(cells(model, "", method)), "{:.2f}")]
        if ceiling:
            yield [model, "ceiling *", *_shown(runs, model, list(cells(model, "", None)), "{:.2f}")]


def _shown(runs: Sequence[Run], model: str, cells: Sequence[Cell], form: str) -> list[str]:
    shown = []
    for value, lookup, dataset in cells:
        run = stands_for(runs, dataset, model)
        ours = None if run is None else lookup(run)
        shown.append(BETWEEN.join((_number(value, form), _number(ours, form))))
    return shown


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value).replace("-", "−")


def _percent(method: str, kind: str, figure: str) -> Lookup:
    def lookup(run: Run) -> float | None:
        found = run.value(method, kind, figure)
        return None if found is None else 100 * found

    return lookup


def _skewness(modality: str) -> Lookup:
    def lookup(run: Run) -> float | None:
        found: float | None = run.numbers["table5"].get(modality)
        return found

    return lookup


def _moment(method: str, modality: str, part: str) -> Lookup:
    def lookup(run: Run) -> float | None:
        found: Mapping[str, float] | None = run.numbers["table6"][method].get(modality)
        return None if found is None else found[part]

    return lookup
