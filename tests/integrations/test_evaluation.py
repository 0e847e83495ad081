"""Scoring methods on benchmarks: constructed ones with known answers, and real embeddings with published figures."""

from __future__ import annotations

import io
import json
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("ir_measures")
pytest.importorskip("rich")

from rich.console import Console

from benchmark_world import DIMENSION, gapped, labels_of, unrelated
from commonscale import Calibration, JointSearch, Question
from commonscale.core.errors import DegenerateStatisticsWarning, FewQuestionsWarning, InvalidInputError
from commonscale.evaluation import (
    METHODS,
    METRICS,
    Benchmark,
    Method,
    evaluate_benchmark,
    evaluate_files,
    evaluate_questions,
    print_table,
    write_results,
)
from commonscale.evaluation.sources import VectorSource
from sources import ArraySource, unit_rows

SCORED = ("recall@1", "recall@5", "recall@20")
UNLABELED = ["standardized", "centered", "centered+standardized", "chance"]
CEILINGS = ["text-only", "image-only"]
KEEPING_THE_ORDER = ["cosine", "standardized", "background", "gumbel", "quantile", "rrf", "minmax", "dbsf"]


def brute_force(benchmark, statistics=None):
    """Rank every document of every question in plain numpy, float64."""
    scores = []
    for modality, vectors in benchmark.documents.items():
        cosines = benchmark.questions.astype(np.float64) @ vectors.astype(np.float64).T
        if statistics:
            mean, std = statistics[modality]
            cosines = (cosines - mean) / std
        scores.append(cosines)
    ids = [f"{modality}:{row}" for modality, vectors in benchmark.documents.items() for row in range(len(vectors))]
    return [[ids[column] for column in order] for order in np.argsort(-np.hstack(scores), axis=1)]


def test_standardized_is_equation_2_to_4():
    benchmark = Benchmark.from_arrays(gapped())
    statistics = {}
    for modality, vectors in benchmark.documents.items():
        best = (benchmark.calibration_questions.astype(np.float64) @ vectors.T).max(axis=1)
        statistics[modality] = best.mean(), best.std()
    ranked = METHODS["standardized"].rank(benchmark, 30)
    assert [ranking.ids for ranking in ranked] == [ids[:30] for ids in brute_force(benchmark, statistics)]


def test_labeled_is_equation_1_and_2():
    parts = gapped()
    benchmark = Benchmark.from_arrays({**parts, **labels_of(parts)})
    pairs = labels_of(parts)
    statistics = {}
    for modality, vectors in benchmark.documents.items():
        of = pairs["calibration_relevant_modality"] == modality
        asked = benchmark.calibration_questions[pairs["calibration_relevant_question"][of]].astype(np.float64)
        cosines = np.einsum("nd,nd->n", asked, vectors[pairs["calibration_relevant_index"][of]].astype(np.float64))
        statistics[modality] = cosines.mean(), cosines.std()
    with pytest.warns(FewQuestionsWarning, match="'image' rest on 17"):
        ranked = METHODS["labeled"].rank(benchmark, 30)
    assert [ranking.ids for ranking in ranked] == [ids[:30] for ids in brute_force(benchmark, statistics)]


def test_cosine_ranks_by_cosine_and_ceilings_hold_one_modality():
    benchmark = Benchmark.from_arrays(gapped(gap=0.2))
    everything = brute_force(benchmark)
    assert [r.ids for r in METHODS["cosine"].rank(benchmark, 30)] == [ids[:30] for ids in everything]
    for name, modality in (("text-only", "text"), ("image-only", "image")):
        assert METHODS[name].ceiling_of == modality
        ranked = METHODS[name].rank(benchmark, 30)
        assert [r.ids for r in ranked] == [[i for i in ids if i.startswith(modality)][:30] for ids in everything]


def test_scores_have_the_promised_shape_and_methods_the_promised_names():
    parts = gapped(gap=4.0)
    with pytest.warns(FewQuestionsWarning):
        scores = evaluate_benchmark(Benchmark.from_arrays({**parts, **labels_of(parts)}))
    assert list(scores) == [
        *("cosine", "labeled", "standardized", "centered", "centered+standardized", "chance", "background", "gumbel"),
        *("quantile", "csls+standardized", "qbnorm+standardized", "rrf", "minmax", "dbsf", "text-only", "image-only"),
    ]
    assert list(scores) == list(METHODS)
    for by_modality in scores.values():
        assert list(by_modality) == ["text", "image"]
        for figures in by_modality.values():
            assert list(figures) == ["recall@1", "recall@5", "recall@20", "recall@100", "mrr@20", "ndcg@20"]
            assert all(type(value) is float and 0 <= value <= 1 for value in figures.values())
    assert scores["cosine"]["image"]["recall@20"] == 0.0
    assert scores["standardized"]["image"]["recall@20"] > 0.5
    assert set(scores["text-only"]["image"].values()) == {0.0}


@pytest.mark.parametrize("seed", range(5))
def test_no_method_that_keeps_the_order_within_a_modality_passes_its_ceiling(seed):
    """Holds also for questions with relevant documents of both kinds."""
    rng = np.random.default_rng(seed)
    both = {
        "relevant_question": np.concatenate([np.arange(40), np.arange(40)]),
        "relevant_modality": np.array(["text"] * 40 + ["image"] * 40),
        "relevant_index": np.concatenate([rng.integers(0, 60, 40), rng.integers(0, 50, 40)]),
    }
    scores = evaluate_benchmark(Benchmark.from_arrays(gapped(seed, gap=0.5, **both)))
    for method in KEEPING_THE_ORDER:
        for modality in ("text", "image"):
            for metric in METRICS:
                assert scores[method][modality][metric] <= scores[f"{modality}-only"][modality][metric] + 1e-12


def test_a_question_with_both_kinds_is_scored_in_both_and_others_in_their_own():
    parts = gapped(questions=3)
    parts |= {
        "relevant_question": np.array([0, 0, 0, 1, 2, 2]),
        "relevant_modality": np.array(["text", "text", "image", "image", "text", "text"]),
        "relevant_index": np.array([4, 5, 6, 7, 8, 8]),
    }
    benchmark = Benchmark.from_arrays(parts)
    scored = evaluate_questions(benchmark, METHODS["text-only"].rank(benchmark, 100))
    assert scored["text"].questions.tolist() == [0, 2]
    assert scored["image"].questions.tolist() == [0, 1]
    # All 60 passages are retrieved, so every relevant one is found; the pair named twice counts once.
    np.testing.assert_array_equal(scored["text"].values["recall@100"], [1.0, 1.0])
    np.testing.assert_array_equal(scored["image"].values["recall@100"], [0.0, 0.0])


def test_questions_that_retrieve_nothing_relevant_count_as_zero():
    benchmark = Benchmark.from_arrays(gapped())
    scored = evaluate_questions(benchmark, METHODS["text-only"].rank(benchmark, 100))
    assert len(scored["image"].values["mrr@20"]) == 20
    assert scored["image"].means()["mrr@20"] == 0.0
    assert scored["text"].means()["mrr@20"] == pytest.approx(scored["text"].values["mrr@20"].mean())


def test_a_modality_without_documents_is_no_obstacle():
    parts = gapped(images=40)
    only_texts = parts | {"images": np.empty((0, DIMENSION)), "relevant_modality": np.array(["text"] * 40)}
    with pytest.warns(DegenerateStatisticsWarning, match="'image' returned no document"):
        scores = evaluate_benchmark(Benchmark.from_arrays(only_texts))
    assert list(scores) == [name for name in METHODS if name != "labeled"]
    assert all(scores[method] == scores["text-only"] for method in KEEPING_THE_ORDER)
    assert list(scores["cosine"]) == ["text"]
    assert set(scores["image-only"]["text"].values()) == {0.0}


def test_the_source_is_exact_whatever_the_block_and_keeps_ties_in_row_order(monkeypatch):
    rng = np.random.default_rng(3)
    vectors = unit_rows(rng, 50, 8)
    # Small integers: equal vectors then have equal cosines, however the product is computed.
    vectors[[4, 9, 30]] = vectors[20] = np.eye(8, dtype=np.float32)[0]
    questions = [Question(vector=row) for row in np.vstack([np.eye(8), unit_rows(rng, 5, 8)]).astype(np.float32)]
    exact = ArraySource([f"text:{row}" for row in range(50)], vectors)
    for block in (1, 120, 2**24):
        monkeypatch.setattr("commonscale.core.dense.BLOCK", block)
        for k in (1, 2, 7, 50, 80):
            found = VectorSource("text", vectors).search(questions, k)
            assert [c.ids for c in found] == [c.ids for c in exact.search(questions, k)]
    assert VectorSource("text", vectors).search(questions[:1], 3)[0].ids == ["text:4", "text:9", "text:20"]


@pytest.mark.filterwarnings("ignore::commonscale.core.errors.CommonscaleWarning")
@pytest.mark.parametrize("sizes", [{"images": 1}, {"images": 2, "texts": 1}, {"bank": 1}, {"images": 0}, {"texts": 0}])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "labeled"])
def test_every_method_runs_on_the_smallest_files(method, sizes):
    benchmark = unrelated(0, questions=5, **({"texts": 4, "images": 3} | sizes))
    searched = {"text-only": ["text"], "image-only": ["image"]}.get(method, ["text", "image"])
    wanted = min(4, sum(len(benchmark.documents[modality]) for modality in searched))
    for ranking in METHODS[method].rank(benchmark, 4):
        assert len(ranking) == len(set(ranking.ids)) == wanted
        assert np.isfinite([hit.score for hit in ranking]).all()
        assert all(first.score >= second.score for first, second in pairwise(ranking))


def test_what_one_method_searched_the_next_need_not(monkeypatch):
    benchmark = Benchmark.from_arrays(gapped())
    first = METHODS["cosine"].rank(benchmark, 10)
    monkeypatch.setattr("commonscale.evaluation.sources.nearest", lambda *_: pytest.fail("searched again"))
    again = METHODS["cosine"].rank(benchmark, 10)
    assert [ranking.ids for ranking in again] == [ranking.ids for ranking in first]
    for method in ("background", "rrf", "dbsf", *CEILINGS):
        METHODS[method].rank(benchmark, 10)


def test_few_and_only_small_answers_are_kept(monkeypatch):
    vectors = unit_rows(np.random.default_rng(0), 30, 8)
    source = VectorSource("text", vectors)
    for _ in range(12):
        questions = [Question(vector=row) for row in vectors[:4]]
        assert source.search(questions, 2)[0].ids[0] == "text:0"
    assert len(source._answers) == 4
    monkeypatch.setattr("commonscale.evaluation.sources._LARGEST", 7)
    source = VectorSource("text", vectors)
    source.search(questions, 2)
    assert not source._answers


def test_the_source_gives_its_vectors_under_the_ids_it_finds():
    vectors = unit_rows(np.random.default_rng(0), 30, 8)
    source = VectorSource("image", vectors)
    batches = list(source.scan(7))
    assert [len(ids) for ids, _ in batches] == [7, 7, 7, 7, 2]
    assert [name for ids, _ in batches for name in ids] == [f"image:{row}" for row in range(30)]
    np.testing.assert_array_equal(np.vstack([rows for _, rows in batches]), vectors)
    (found,) = source.search([Question(vector=vectors[3])], 5)
    np.testing.assert_allclose(source.vectors_of(found.ids) @ vectors[3], found.cosines, atol=1e-6)


def test_the_source_may_be_searched_beside_others():
    assert VectorSource.concurrent is True


def test_methods_use_the_products_own_search(monkeypatch):
    seen = []
    original = JointSearch.search_batch
    monkeypatch.setattr(JointSearch, "search_batch", lambda *a, **k: seen.append(k) or original(*a, **k))
    benchmark = Benchmark.from_arrays(gapped())
    for method in UNLABELED:
        METHODS[method].rank(benchmark, 5)
    assert seen == [{}] * 4
    monkeypatch.setattr(Calibration, "standardize_checked", lambda *_: pytest.fail("raw search must not standardize"))
    for method in ("cosine", *CEILINGS):
        METHODS[method].rank(benchmark, 5)
    assert seen == [{}] * 4 + [{"raw": True}] * 3


def test_a_method_is_one_function_and_one_row(monkeypatch):
    monkeypatch.setitem(METHODS, "text-first", Method(METHODS["text-only"].rank))
    benchmark = Benchmark.from_arrays(gapped())
    assert evaluate_benchmark(benchmark, ["text-first"])["text-first"] == evaluate_benchmark(benchmark)["text-only"]


def test_files_are_named_as_given_and_scored_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "b.npz", **gapped())
    results = evaluate_files(["b.npz", tmp_path / "b.npz", "b.npz"], ["cosine"])
    assert list(results) == ["b.npz", str(tmp_path / "b.npz")]
    assert results["b.npz"] == evaluate_files([tmp_path / "b.npz"], ["cosine"])[str(tmp_path / "b.npz")]


def test_nothing_to_evaluate_and_unknown_methods_are_errors(tmp_path):
    with pytest.raises(InvalidInputError, match="name at least one"):
        evaluate_files([])
    np.savez(tmp_path / "b.npz", **gapped())
    with pytest.raises(InvalidInputError, match=r"unknown methods \['magic'\]; there are \['cosine'"):
        evaluate_files([tmp_path / "b.npz"], ["cosine", "magic"])


def test_results_are_written_as_json_that_keeps_every_bit(tmp_path):
    np.savez(tmp_path / "b.npz", **gapped())
    results = evaluate_files([tmp_path / "b.npz"])
    write_results(results, tmp_path / "new folder" / "out.json")
    assert json.loads((tmp_path / "new folder" / "out.json").read_text(encoding="utf-8")) == results
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["out.json"]


def test_the_table_shows_every_figure_and_the_share_of_the_ceiling():
    figures = dict(zip(METRICS, (0.1, 0.25, 0.5, 0.75, 0.3, 0.4), strict=True))
    ceiling = {**figures, "recall@20": 0.8}
    results = {"folder/[bold]a.npz": {"cosine": {"image": figures}, "image-only": {"image": ceiling}}}
    output = io.StringIO()
    print_table(results, Console(file=output, width=80))
    lines = output.getvalue().splitlines()
    assert lines[0].strip() == "folder/[bold]a.npz: image questions"
    row = next(line for line in lines if "cosine" in line)
    assert row.split() == ["cosine", "0.100", "0.250", "0.500", "0.750", "0.300", "0.400", "62%"]


def test_the_table_fits_a_terminal_of_80_columns():
    figures = dict.fromkeys(METRICS, 0.125)
    output = io.StringIO()
    print_table({"a": {method: {"text": figures} for method in METHODS}}, Console(file=output, width=80))
    assert output.getvalue().splitlines()[2].split()[1:7] == ["R@1", "R@5", "R@20", "R@100", "MRR@20", "nDCG@20"]
    assert "…" not in output.getvalue()
    assert "image-only" not in output.getvalue()


def test_the_table_of_methods_without_a_ceiling():
    figures = dict.fromkeys(METRICS, 0.5)
    output = io.StringIO()
    print_table({"a": {"cosine": {"text": figures, "image": figures}}}, Console(file=output, width=140))
    rows = [line.split() for line in output.getvalue().splitlines() if line.split()[:1] == ["cosine"]]
    assert [row[-1] for row in rows] == ["-", "-"]


def test_coco_gives_the_independent_figures(shared):
    scores = next(iter(evaluate_files([shared / "data" / "coco-clip-b32.npz"]).values()))
    expected = {
        "cosine": (0.000, 0.000, 0.000),
        "standardized": (0.341, 0.521, 0.701),
        "centered": (0.066, 0.335, 0.760),
        "centered+standardized": (0.305, 0.581, 0.832),
        "chance": (0.473, 0.749, 0.952),
        "image-only": (0.497, 0.754, 0.946),
    }
    for method, figures in expected.items():
        assert list(scores[method]) == ["image"]
        assert tuple(round(scores[method]["image"][metric], 3) for metric in SCORED) == figures
    assert round(scores["chance"]["image"]["mrr@20"], 3) == 0.605


def test_photo_encoder_gives_the_independent_figures(shared):
    """Most independent figures are means of five draws; three of them are at hand, so they agree only nearly."""
    methods = ["cosine", *UNLABELED, *CEILINGS]
    results = evaluate_files(sorted((shared / "data").glob("photo-encoder-?.npz")), methods)
    assert len(results) == 3

    def mean(method, modality):
        metrics = (*SCORED, "mrr@20")
        return [float(np.mean([scores[method][modality][metric] for scores in results.values()])) for metric in metrics]

    assert mean("cosine", "text") == pytest.approx([0.217, 0.629, 0.846, 0.751], abs=0.006)
    assert mean("cosine", "image") == pytest.approx([0.0, 0.0, 0.0, 0.0], abs=0.0005)
    assert mean("standardized", "text") == pytest.approx([0.159, 0.550, 0.813, 0.630], abs=0.01)
    assert mean("standardized", "image") == pytest.approx([0.215, 0.434, 0.630, 0.317], abs=0.015)
    assert mean("centered", "text") == pytest.approx([0.222, 0.635, 0.851, 0.760], abs=0.008)
    assert mean("centered", "image") == pytest.approx([0.001, 0.009, 0.092, 0.010], abs=0.003)
    assert mean("centered+standardized", "text") == pytest.approx([0.161, 0.535, 0.794, 0.626], abs=0.012)
    assert mean("centered+standardized", "image") == pytest.approx([0.221, 0.462, 0.685, 0.332], abs=0.017)
    # These are of the same three draws.
    assert mean("chance", "text") == pytest.approx([0.183, 0.520, 0.743, 0.658], abs=0.0006)
    assert mean("chance", "image") == pytest.approx([0.243, 0.562, 0.791, 0.385], abs=0.0006)
    assert mean("text-only", "text")[-1] == pytest.approx(0.751, abs=0.005)
    assert mean("image-only", "image")[-1] == pytest.approx(0.428, abs=0.015)
