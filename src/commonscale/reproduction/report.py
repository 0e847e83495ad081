"""One page for all runs in a folder, with the published numbers beside ours."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from commonscale.core.errors import InvalidInputError
from commonscale.core.files import write_text_atomically
from commonscale.diagnostics.report import Report, Section, Table, write_report
from commonscale.reproduction.figures import figures
from commonscale.reproduction.mixbench_tables import mixbench_table
from commonscale.reproduction.published import published
from commonscale.reproduction.results import Run, read_runs
from commonscale.reproduction.tables import KINDS, SETS, table_3, table_4, table_5, table_6

JSON = "report.json"


def write_reproduction(folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``report.html``, ``report.json`` and the figures of all runs in a folder.

    Args:
        folder: what ``reproduce`` wrote to.

    Returns:
        The files written, the page first.

    Raises:
        InvalidInputError: if there are no runs.
        FileFormatError: if the numbers of one are damaged.
        MissingExtraError: if matplotlib or Jinja is not installed.
    """
    root = Path(folder)
    runs = read_runs(root)
    if not runs:
        raise InvalidInputError(f"{root}: holds no runs; make one with: commonscale reproduce DATASET --out {root} ...")
    files = write_report(_report(runs), root)
    numbers = {"published": published(), "runs": {run.folder.name: run.numbers for run in runs}}
    write_text_atomically(root / JSON, json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return [*files, root / JSON]


def _report(runs: Sequence[Run]) -> Report:
    pairs = [run for run in runs if run.dataset in SETS]
    mixed = [run for run in runs if run.dataset == "mixbench"]
    sections = [Section("What was run", paragraphs=_settings(runs), tables=[_runs_table(pairs)] if pairs else [])]
    if pairs:
        sections.append(Section("Tables", tables=[table_3(runs), table_4(runs), table_5(runs), table_6(runs)]))
        sections.append(Section("Beyond the paper", paragraphs=_BEYOND, tables=[beyond_table(pairs)]))
        sections.append(Section("Figures", parts=[Section(run.folder.name, pictures=figures(run)) for run in pairs]))
    if mixed:
        sections.append(Section("MixBench", paragraphs=_mixbench_notes(mixed), tables=[mixbench_table(runs)]))
    return Report(
        "The papers' experiments, run again",
        [
            "The numbers measured here were computed from the published files with the encoder named; those called "
            "published are the papers'."
        ],
        sections,
        [published()["source"], published()["mixbench_source"]],
    )


_BEYOND = (
    "Share of images among the first 20 documents; hit@20, the share of questions for which any relevant document is "
    "found; and the difference in MRR@20 to the paper's method (standardized), with its 95% paired bootstrap interval.",
)


def _settings(runs: Sequence[Run]) -> list[str]:
    words = []
    for run in runs:
        settings = run.numbers
        name = f"{run.folder.name}: {settings['encoder']}, {settings['setting']}."
        if run.dataset in SETS:
            name += " Captions of pictures are not used. Training questions calibrate, and none of them is evaluated."
        if not run.complete:
            name += " This is not the paper's setting: its numbers cannot be compared with the published ones."
        elif not run.published_data:
            name += " Its questions are not as many as the published files have: these are other data than the paper's."
        words.append(" ".join([name, *settings.get("notes", [])]))
    return words


def _runs_table(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        counts = run.numbers["counts"]
        documents = [f"{counts['documents'][modality]:,}" for modality in KINDS]
        asked = [f"{counts['calibration'][m]:,} / {counts['evaluated'][m]:,}" for m in KINDS]
        rows.append([run.folder.name, *documents, *asked])
    columns = ["run", "texts", "images", "TextQ training / evaluated", "ImageQ training / evaluated"]
    note = (
        "The paper's Table 2: MMQA 218K texts, 57K images, TextQ 6.7K / 721, ImageQ 1.9K / 230; WebQA 787K, 389K, "
        "15K / 2.4K, 16K / 2.5K."
    )
    return Table(columns, rows, "Documents and questions", note)


def beyond_table(runs: Sequence[Run]) -> Table:
    """Give every method of some runs with what the paper's tables have no column for.

    Args:
        runs: of MultiModalQA or WebQA.
    """
    rows = []
    for run in runs:
        for method, found in run.numbers["methods"].items():
            for kind, name in KINDS.items():
                if kind not in found["means"]:
                    continue
                differences = run.numbers["intervals"].get(method, {}).get(kind)
                shown = (
                    "{difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**differences).replace("-", "−")
                    if differences
                    else "–"
                )
                means = found["means"][kind]
                values = (means["recall@20"], means["hit@20"], means["mrr@20"])
                rows.append(
                    [
                        run.folder.name,
                        name,
                        method,
                        *(f"{v:.3f}" for v in values),
                        f"{found['images'][kind]:.0%}",
                        shown,
                    ]
                )
    columns = [
        "run",
        "questions",
        "method",
        "Recall@20",
        "hit@20",
        "MRR@20",
        "images in 20",
        "MRR@20 minus standardized",
    ]
    return Table(columns, rows, "All methods")


def _mixbench_notes(runs: Sequence[Run]) -> list[str]:
    words = [
        "MixBench has no training questions: each half of the questions calibrates for the other half. Means of "
        "documents are those of the corpus; the paper takes them from training sets that it does not publish. A "
        f"document with words and a picture is their sum with weight {runs[0].numbers['alpha']} each."
    ]
    for run in runs:
        for name, subset in run.numbers["subsets"].items():
            counts = ", ".join(f"{count:,} {modality}" for modality, count in subset["documents"].items())
            words.append(
                f"{run.folder.name}, {name}: {subset['questions']:,} questions, {subset['several_relevant']:,} of them "
                f"with several relevant documents; {counts} documents. " + " ".join(subset["notes"])
            )
    return words
