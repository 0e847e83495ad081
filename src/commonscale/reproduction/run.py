"""``reproduce``: from published files and an encoder to the numbers of an experiment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import commonscale
from commonscale.core.errors import InvalidInputError
from commonscale.core.files import write_text_atomically
from commonscale.datasets import MixBench, MultiModalQA, RetrievalDataset, UniVLDR, WebQA
from commonscale.reproduction.gap import measure_gap
from commonscale.reproduction.material import Material, make_material
from commonscale.reproduction.measure import compare, measure
from commonscale.reproduction.mixbench import reproduce_mixbench
from commonscale.reproduction.published import MODELS, model_of
from commonscale.reproduction.results import NUMBERS, SCHEMA
from commonscale.reproduction.selection import Selection, Sizes, counts_by_kind

if TYPE_CHECKING:
    from commonscale.encoders import Encoder


_Published: TypeAlias = MultiModalQA | UniVLDR | WebQA

CACHE = "cache"
DATASETS = ("mmqa", "webqa", "mixbench")


def reproduce(
    dataset: str,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    encoder: Encoder,
    *,
    encoder_name: str,
    sizes: Sizes | None = None,
    pictures: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    progress: bool = False,
) -> Path:
    """Run the experiments of a data set with an encoder; a run that was killed goes on where it was.

    Vectors are kept in ``OUT/cache``; numbers and the benchmark file in a folder of their own for each data set,
    encoder and size. ``write_reproduction`` makes the report of all runs in a folder.

    Args:
        dataset: ``"mmqa"``, ``"webqa"`` (official files, or as UniVL-DR prepared them) or ``"mixbench"``.
        data: the folder of the published files.
        out: where everything is written.
        encoder: embeds questions, texts and pictures.
        encoder_name: what it is called; a name of the papers' models puts its numbers beside theirs.
        sizes: how much is used; all of it by default.
        pictures: where the pictures of MultiModalQA are, if not beside its files.
        retry_failed: try again what an earlier run could not embed; everything else keeps its vector.
        progress: show progress bars on stderr.

    Returns:
        The folder of the run, with ``numbers.json``.

    Raises:
        InvalidInputError: if there is no such data set, or it has nothing to evaluate.
        MissingDataError: if a file is missing; the message says where it is published.
        FileFormatError: naming file and line, if one is damaged.
        EncoderError: if the encoder cannot be used; what was embedded stays.
    """
    chosen = sizes or Sizes()
    root = Path(out)
    run = root / _folder(dataset, encoder_name, chosen)
    cache = root / CACHE / f"{_folder(dataset, '', chosen)}-{_slug(encoder.fingerprint)[:40]}"
    settings = {
        "schema_version": SCHEMA,
        "dataset": dataset,
        "encoder": encoder_name,
        "fingerprint": encoder.fingerprint,
        "sizes": asdict(chosen),
        "setting": str(chosen),
        "version": commonscale.__version__,
    }
    how = {"retry_failed": retry_failed, "progress": progress}
    if dataset == "mixbench":
        benchmark = MixBench(data)
        found = reproduce_mixbench(benchmark, encoder, encoder_name, chosen, cache, run, **how)
    else:
        opened = _open(dataset, data, pictures)
        found = _questions_and_documents(opened, encoder, encoder_name, chosen, cache, run, **how)
    write_text_atomically(run / NUMBERS, json.dumps({**settings, **found}, indent=1, allow_nan=False) + "\n")
    return run


def check_data(dataset: str, data: str | os.PathLike[str], pictures: str | os.PathLike[str] | None = None) -> None:
    """Look at every file that a run needs, before a large encoder is loaded.

    Args:
        dataset: as for ``reproduce``.
        data: as for ``reproduce``.
        pictures: as for ``reproduce``.

    Raises:
        InvalidInputError: if there is no such data set.
        MissingDataError: naming all files that are missing, and where they are published.
    """
    if dataset == "mixbench":
        benchmark = MixBench(data)
        benchmark.check_files()
        for name in benchmark.subsets:
            subset = benchmark.subset(name)
            next(subset.questions(), None)
            next(subset.documents(), None)
            subset.relevant()
        return
    opened = _open(dataset, data, pictures)
    splits = (opened.evaluation_split, "train")
    opened.check_files(splits)
    for split in splits:
        next(opened.questions(split), None)
    next(opened.passages(), None)
    next(opened.pictures(), None)
    _ = opened.store


def _open(dataset: str, data: str | os.PathLike[str], pictures: str | os.PathLike[str] | None) -> _Published:
    openers: Mapping[str, Callable[[], _Published]] = {
        "mmqa": lambda: MultiModalQA(data, pictures),
        "webqa": lambda: UniVLDR(data) if UniVLDR.is_in(data) else WebQA(data),
    }
    if dataset not in openers:
        raise InvalidInputError(f"there is no data set {dataset!r} to reproduce; there are {', '.join(DATASETS)}")
    return openers[dataset]()


def _questions_and_documents(
    dataset: RetrievalDataset,
    encoder: Encoder,
    encoder_name: str,
    sizes: Sizes,
    cache: Path,
    run: Path,
    *,
    retry_failed: bool,
    progress: bool,
) -> dict[str, Any]:
    selection = Selection.of(dataset, sizes)
    target = run / "benchmark.npz"
    material = make_material(dataset, selection, encoder, cache, target, retry_failed=retry_failed, progress=progress)
    scored = measure(material, run / "methods", progress=progress)
    gap = measure_gap(material, run)
    return {
        "model": model_of(encoder_name, MODELS),
        "counts": _counts(selection, material),
        "captions": "not used",
        "notes": list(material.notes),
        "methods": {
            name: {key: figures[key] for key in ("means", "images", "questions")} for name, figures in scored.items()
        },
        "intervals": {
            name: compare(scored, name, "standardized")
            for name in ("centered+standardized", "chance")
            if name in scored and "standardized" in scored
        },
        **{key: gap[key] for key in ("table5", "table6", "gaps")},
    }


def _counts(selection: Selection, material: Material) -> dict[str, Any]:
    return {
        "documents": {modality: len(vectors) for modality, vectors in material.benchmark.documents.items()},
        "evaluated": counts_by_kind(selection.evaluated),
        "calibration": counts_by_kind(selection.calibration),
        "labeled_pairs": len(material.labeled.modalities),
    }


def _folder(dataset: str, encoder_name: str, sizes: Sizes) -> str:
    last = encoder_name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    parts = [dataset, _slug(last), "" if sizes.pool == "full" else sizes.pool]
    limits = {"limit": sizes.limit, "training": sizes.training, "documents": sizes.documents}
    parts += [f"{name}{value}" for name, value in limits.items() if value is not None]
    return "-".join(part for part in parts if part)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
