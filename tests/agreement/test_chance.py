"""Chance-level calibration against its five steps, written out in float64 from ``docs/chance.md`` alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.stats import norm

from benchmark_world import gapped, unrelated
from commonscale import JointSearch
from commonscale.evaluation import METHODS, Benchmark

SHARED = Path(__file__).parents[3] / "shared" / "data"
MODALITIES = ("text", "image")


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.sqrt((rows**2).sum(axis=-1, keepdims=True))


def chance(bank, documents, questions, p=1e-5):
    """The method's five steps for one modality: the scores (Q, N), and mean, standard deviation and level."""
    mean_question, mean_document = bank.mean(axis=0), documents.mean(axis=0)
    against = unit(documents - mean_document).T
    seen = unit(bank - mean_question) @ against
    hubs = np.sort(seen, axis=0)[::-1][:10].mean(axis=0)
    background = seen - 0.5 * hubs
    mean = np.mean(background)
    deviation = np.mean([np.sqrt(((row - row.mean()) ** 2).mean()) for row in background])
    different = len(np.unique(documents.round(6), axis=0))
    level = mean + deviation * norm.isf(p / different)
    asked = unit(questions - mean_question) @ against - 0.5 * hubs
    return (asked - level) / np.sqrt(deviation), mean, deviation, level


def expected(benchmark):
    """Scores of all documents, texts first, (Q, N), and what they rest on by modality."""
    bank, questions = unit(benchmark.calibration_questions), unit(benchmark.questions)
    found = {m: chance(bank, unit(benchmark.documents[m]), questions) for m in MODALITIES}
    return np.hstack([found[m][0] for m in MODALITIES]), {m: found[m][1:] for m in MODALITIES}


def check(benchmark, tolerance):
    """The library's scores are those, and its ranking theirs wherever two differ by more than float32 rounds."""
    scores, _ = expected(benchmark)
    names = [f"{m}:{row}" for m in MODALITIES for row in range(len(benchmark.documents[m]))]
    place = {name: column for column, name in enumerate(names)}
    for row, ranking in zip(scores, METHODS["chance"].rank(benchmark, 50), strict=True):
        columns = [place[hit.id] for hit in ranking]
        assert len(set(columns)) == min(50, len(names))
        best = np.sort(row)[::-1][: len(columns)]
        np.testing.assert_allclose([hit.score for hit in ranking], row[columns], atol=tolerance, rtol=0)
        np.testing.assert_allclose(row[columns], best, atol=2 * tolerance, rtol=0)


WORLDS = {
    "gap": lambda: Benchmark.from_arrays(gapped(3)),
    "unrelated": lambda: unrelated(1),
    "few questions": lambda: unrelated(2, bank=4),
    "one text": lambda: unrelated(5, texts=2),
    "copies": lambda: copied(unrelated(4)),
}


def copied(benchmark):
    """Every text three times."""
    texts = np.repeat(benchmark.documents["text"], 3, axis=0)
    return Benchmark(
        "copies",
        benchmark.questions,
        benchmark.calibration_questions,
        {**benchmark.documents, "text": texts},
        benchmark.relevant,
    )


@pytest.mark.filterwarnings("ignore::commonscale.core.errors.FewQuestionsWarning")
@pytest.mark.parametrize("world", WORLDS)
def test_scores_are_those_of_the_five_steps(world):
    check(WORLDS[world](), 5e-6)


@pytest.mark.filterwarnings("ignore::commonscale.core.errors.FewQuestionsWarning")
@pytest.mark.parametrize("world", WORLDS)
def test_the_background_is_that_of_the_five_steps(world):
    benchmark = WORLDS[world]()
    calibration = JointSearch(benchmark.sources).calibrate(benchmark.bank, method="chance")
    for modality, (mean, deviation, level) in expected(benchmark)[1].items():
        known = calibration.modalities[modality].background
        assert (known.mean, known.std, known.level) == pytest.approx((mean, deviation, level), abs=1e-6)
        assert calibration.modalities[modality].location == known.level
        assert calibration.modalities[modality].scale == pytest.approx(np.sqrt(deviation), abs=1e-6)


FIGURES = {
    "coco-clip-b32": {"image": (0.473, 0.749, 0.952, 0.605)},
    "photo-encoder": {"text": (0.183, 0.520, 0.743, 0.658), "image": (0.243, 0.562, 0.791, 0.385)},
}
"""Recall@1/5/20 and MRR@20 that an independent implementation found; photos: mean of three files."""


real = pytest.mark.skipif(not SHARED.is_dir(), reason="the real embeddings are not in ../shared")


def figures_of(benchmark):
    """Recall@1/5/20 and MRR@20 by modality, from the five steps alone."""
    scores, _ = expected(benchmark)
    pairs, texts = benchmark.relevant, len(benchmark.documents["text"])
    wanted = np.zeros(scores.shape, dtype=bool)
    wanted[pairs.questions, pairs.documents + np.where(pairs.modalities == "text", 0, texts)] = True
    hits = np.take_along_axis(wanted, np.argsort(-scores, axis=1, kind="stable")[:, :20], axis=1)
    recalls = [hits[:, :k].sum(axis=1) / wanted.sum(axis=1) for k in (1, 5, 20)]
    metrics = np.stack([*recalls, np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0)], axis=1)
    return {m: metrics[np.unique(pairs.questions[pairs.modalities == m])].mean(axis=0) for m in set(pairs.modalities)}


@real
@pytest.mark.parametrize("name", FIGURES)
def test_the_five_steps_reach_the_known_figures_on_real_embeddings(name):
    found = [figures_of(Benchmark.load(path)) for path in sorted(SHARED.glob(f"{name}*.npz"))]
    assert found
    for modality, figures in FIGURES[name].items():
        np.testing.assert_allclose(np.mean([one[modality] for one in found], axis=0), figures, atol=6e-4)


@real
@pytest.mark.parametrize("name", ["coco-clip-b32", "photo-encoder-0"])
def test_scores_of_real_vectors_are_those_of_the_five_steps(name):
    whole = Benchmark.load(SHARED / f"{name}.npz")
    check(Benchmark(name, whole.questions[::10], whole.calibration_questions, whole.documents, whole.relevant), 5e-6)
