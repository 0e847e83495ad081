"""MixBench: NDCG@10 over texts, pictures and documents of both, with and without the gap."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from commonscale.core.dense import nearest, unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.files import write_text_atomically
from commonscale.core.search import JointSearch
from commonscale.core.types import Question, Vector
from commonscale.datasets import MixBench
from commonscale.evaluation.metrics import per_question
from commonscale.evaluation.sources import VectorSource
from commonscale.reproduction.mixbench_corpus import ALPHA, FOLDS, Corpus, embed_subset, folds, known, write_benchmark
from commonscale.reproduction.ndcg import ndcg
from commonscale.reproduction.published import MIXBENCH_MODELS, model_of
from commonscale.reproduction.selection import Sizes

if TYPE_CHECKING:
    from commonscale.encoders import Encoder

DEPTH = 100
CALIBRATED = ("standardized", "centered+standardized", "chance")


def reproduce_mixbench(
    benchmark: MixBench,
    encoder: Encoder,
    encoder_name: str,
    sizes: Sizes,
    cache: Path,
    run: Path,
    *,
    retry_failed: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Score all subsets that are there.

    No training questions are published with MixBench, so each half of the questions calibrates for the other half
    (a fixed seed draws them): no question is scored by a scale that has seen it. Means of documents are those of the
    corpus.

    Args:
        benchmark: the folder.
        encoder: embeds questions, words and pictures.
        encoder_name: what it is called.
        sizes: how much is used; there is one pool only.
        cache: where vectors are kept.
        run: where results are kept.
        retry_failed: try again what an earlier run could not embed.
        progress: show progress bars on stderr.

    Raises:
        InvalidInputError: if a smaller pool or training questions are asked for, or there are too few questions.
        MissingDataError: if there is no subset.
    """
    if sizes.pool != "full" or sizes.training is not None:
        raise InvalidInputError(
            f"MixBench has one pool only, its mixed corpus, and no training questions; got pool={sizes.pool!r} and "
            f"training={sizes.training!r}: leave both out"
        )
    subsets: dict[str, Any] = {}
    for name in benchmark.subsets:
        subset = benchmark.subset(name)
        corpus = embed_subset(subset, encoder, sizes, cache / name, retry_failed=retry_failed, progress=progress)
        write_benchmark(corpus, run / f"{name}.npz")
        subsets[name] = _kept(run / "methods" / f"{name}.json", corpus)
    return {"model": model_of(encoder_name, MIXBENCH_MODELS), "alpha": ALPHA, "subsets": subsets}


def _kept(path: Path, corpus: Corpus) -> dict[str, Any]:
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if known["digest"] == corpus.digest:
            return known
    rankings = {"cosine": _joint(corpus).search_batch(_as_questions(corpus.questions), DEPTH, raw=True)}
    ranked = {"cosine": [ranking.ids for ranking in rankings["cosine"]], "centered": _twofolds(corpus, _centered)}
    for method in CALIBRATED:
        ranked[method] = _twofolds(corpus, _calibrated(method))
    counts = {modality: len(corpus.documents(modality)) for modality in corpus.parts}
    found = {
        "digest": corpus.digest,
        "documents": counts,
        "questions": len(corpus.questions),
        "several_relevant": sum(len(golds) > 1 for golds in corpus.relevant),
        "notes": list(corpus.notes),
        "methods": {method: _figures(lists, corpus.relevant) for method, lists in ranked.items()},
    }
    write_text_atomically(path, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def _figures(ranked: Sequence[Sequence[str]], relevant: Sequence[frozenset[str]]) -> dict[str, float]:
    pairs = list(zip(ranked, relevant, strict=True))
    means = {name: float(values.mean()) for name, values in per_question(ranked, relevant).items()}
    return {
        "ndcg@10": float(np.mean([ndcg(ranking, golds) for ranking, golds in pairs])),
        "ndcg@10 as published": float(
            np.mean([ndcg(ranking, golds, ideal_of_retrieved=True) for ranking, golds in pairs])
        ),
        **means,
    }


Ranker = Callable[[Corpus, Vector, Vector], list[list[str]]]


def _twofolds(corpus: Corpus, rank: Ranker) -> list[list[str]]:
    """Rank each half of the questions with what the other half tells."""
    fold = folds(len(corpus.questions))
    ranked: list[list[str]] = [[] for _ in range(len(corpus.questions))]
    for half in range(FOLDS):
        rows = np.flatnonzero(fold == half)
        found = rank(corpus, corpus.questions[fold != half], corpus.questions[rows])
        for row, ids in zip(rows.tolist(), found, strict=True):
            ranked[row] = ids
    return ranked


def _centered(corpus: Corpus, bank: Vector, asked: Vector) -> list[list[str]]:
    """Rank as GR-CLIP does: subtract the mean of questions, of words and of pictures, blend, normalize, multiply."""
    words = np.concatenate([w for w, _ in corpus.parts.values() if w is not None])
    pictures = np.concatenate([p for _, p in corpus.parts.values() if p is not None])
    mean_w, mean_p = (rows.mean(axis=0, dtype=np.float64) if len(rows) else 0.0 for rows in (words, pictures))
    ids: list[str] = []
    rows: list[Vector] = []
    for modality, (w, p) in corpus.parts.items():
        if w is not None and p is not None:
            moved = ALPHA * (w - mean_w) + (1 - ALPHA) * (p - mean_p)
        else:
            moved = w - mean_w if w is not None else known(p) - mean_p
        ids += [f"{modality}:{row}" for row in range(len(moved))]
        rows.append(moved.astype(np.float32))
    found, _ = nearest(
        unit_rows(np.concatenate([part for part in rows if len(part)])),
        unit_rows(asked - bank.mean(axis=0, dtype=np.float64)),
        DEPTH,
    )
    return [[ids[row] for row in line] for line in found.tolist()]


def _calibrated(method: str) -> Ranker:
    def rank(corpus: Corpus, bank: Vector, asked: Vector) -> list[list[str]]:
        search = _joint(corpus)
        search.calibrate(_as_questions(bank), method=method)
        return [ranking.ids for ranking in search.search_batch(_as_questions(asked), DEPTH)]

    return rank


def _joint(corpus: Corpus) -> JointSearch:
    filled = {modality: corpus.documents(modality) for modality in corpus.parts}
    return JointSearch({m: VectorSource(m, vectors) for m, vectors in filled.items() if len(vectors)})


def _as_questions(vectors: Vector) -> list[Question]:
    return [Question(vector=vector) for vector in vectors]
