"""Comparing methods: which differences are decided, how they are printed, and the file of intervals."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest

pytest.importorskip("ir_measures")
pytest.importorskip("rich")

from rich.console import Console

from benchmark_world import gapped
from commonscale.evaluation import (
    METHODS,
    Benchmark,
    Comparison,
    Interval,
    QuestionValues,
    compare,
    compare_files,
    print_comparisons,
    score_files,
    score_methods,
    write_comparisons,
)

METRICS = ("mrr@20", "recall@20")


def scored(**by_method):
    """Values of every question by method and modality: ``name={"text": [...], "image": [...]}``, the same metrics."""
    return {
        method.replace("_", "-"): {
            modality: QuestionValues(
                np.arange(len(values)) + (1000 if modality == "image" else 0),
                {metric: np.asarray(values, dtype=np.float64) for metric in METRICS},
            )
            for modality, values in by_modality.items()
        }
        for method, by_modality in by_method.items()
    }


def figures(comparison):
    """All intervals of a comparison."""
    for by_baseline in comparison.differences.values():
        for by_method in by_baseline.values():
            for by_metric in by_method.values():
                yield from by_metric.values()


def test_a_clear_difference_is_decided_and_noise_is_not():
    rng = np.random.default_rng(0)
    base = rng.random(200) * 0.5
    values = scored(
        cosine={"text": base + rng.normal(0, 0.3, 200)},
        standardized={"text": base},
        chance={"text": base + 0.2 + rng.normal(0, 0.3, 200)},
        rrf={"text": base - 0.2 + rng.normal(0, 0.3, 200)},
    )
    found = compare(values).differences["text"]
    assert list(found) == ["standardized", "cosine"]
    against = found["standardized"]
    assert list(against) == ["cosine", "chance", "rrf"]
    assert [against[method]["mrr@20"].sign for method in against] == [0, 1, -1]
    for method in against:
        expected = float((values[method]["text"].values["mrr@20"] - base).mean())
        interval = against[method]["mrr@20"]
        assert interval.value == pytest.approx(expected)
        assert interval.low < interval.value < interval.high
    # The other way round, the bounds change places.
    forth, back = against["cosine"]["mrr@20"], found["cosine"]["standardized"]["mrr@20"]
    assert (back.value, back.low, back.high) == pytest.approx((-forth.value, -forth.high, -forth.low))


def test_the_balance_is_the_smaller_of_two_ratios_and_pairs_them():
    rng = np.random.default_rng(1)
    text, image = rng.random((2, 60))
    values = scored(
        cosine={"text": text, "image": np.zeros(60)},
        standardized={"text": text * 0.8, "image": image * 0.5},
        chance={"text": text * 0.9, "image": image * 0.95},
        image_only={"text": np.zeros(60), "image": image},
    )
    balance = compare(values).balance
    assert list(balance) == ["cosine", "standardized", "chance"]
    chance = balance["chance"]
    # Whatever is drawn, these ratios are the same: the interval has no width.
    for name, ratio in (("text", 0.9), ("image", 0.95), ("smaller", 0.9), ("smaller minus standardized", 0.4)):
        assert (chance[name].value, chance[name].low, chance[name].high) == pytest.approx((ratio, ratio, ratio))
    assert balance["cosine"]["smaller"] == Interval(0.0, 0.0, 0.0)
    assert "smaller minus standardized" not in balance["standardized"]


@pytest.mark.parametrize("without", ["cosine", "image-only", "image questions", "anything right"])
def test_there_is_no_balance_without_both_references(without):
    ones = {"text": np.ones(30), "image": np.ones(30)}
    values = scored(cosine=ones, standardized=ones, image_only=ones)
    values.pop(without, None)
    if without == "image questions":
        for by_modality in values.values():
            del by_modality["image"]
    if without == "anything right":
        values = scored(cosine={"text": np.zeros(30), "image": np.ones(30)}, standardized=ones, image_only=ones)
    assert compare(values).balance == {}


def test_few_questions_of_one_kind_decide_nothing_there():
    ones, zeros = ({"text": np.full(100, v), "image": np.full(19, v)} for v in (1.0, 0.0))
    found = compare(scored(cosine=zeros, standardized=zeros, chance=ones, image_only=ones))
    assert found.questions == {"text": 100, "image": 19}
    assert found.differences["text"]["standardized"]["chance"]["mrr@20"].sign == 1
    assert found.differences["image"]["standardized"]["chance"]["mrr@20"] == Interval(1.0, None, None)


def test_ceilings_are_compared_in_their_own_modality_only():
    comparison = compare(score_methods(Benchmark.from_arrays(gapped()), ["cosine", "text-only", "image-only"]))
    assert list(comparison.differences["text"]["cosine"]) == ["text-only"]
    assert list(comparison.differences["image"]["cosine"]) == ["image-only"]


def test_baselines_that_were_not_scored_are_absent():
    comparison = compare(score_methods(Benchmark.from_arrays(gapped()), ["rrf", "dbsf"]))
    assert comparison.differences == {}
    assert comparison.questions == {"text": 20, "image": 20}
    assert compare({}) == Comparison({}, {}, {})


@pytest.fixture(scope="module")
def every_method(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "b.npz"
    np.savez(path, **gapped(questions=60, gap=1.0))
    return score_files([path])


def test_the_file_of_intervals(every_method, tmp_path):
    comparisons = compare_files(every_method)
    write_comparisons(comparisons, tmp_path / "new" / "intervals.json")
    read = json.loads((tmp_path / "new" / "intervals.json").read_text(encoding="utf-8"))
    assert (read["level"], read["resamples"], read["seed"]) == (0.95, 10_000, 0)
    ((name, content),) = read["files"].items()
    comparison = comparisons[name]
    assert content["questions"] == comparison.questions == {"text": 30, "image": 30}
    chance = comparison.differences["image"]["standardized"]["chance"]["mrr@20"]
    assert content["differences"]["image"]["standardized"]["chance"]["mrr@20"] == {
        "value": chance.value,
        "low": chance.low,
        "high": chance.high,
    }
    assert set(content["balance"]["chance"]) == {"text", "image", "smaller", "smaller minus standardized"}
    assert all(figure.low <= figure.value <= figure.high for figure in figures(comparison))


def printed(comparisons, width=100):
    output = io.StringIO()
    print_comparisons(comparisons, Console(file=output, width=width))
    return output.getvalue()


def test_tables_fit_100_columns_whole(every_method):
    lines = printed(compare_files(every_method)).splitlines()
    rows = [line for line in lines if line.startswith(" csls+standardized ")]
    assert [len(re.findall(r"[+-]\.\d{3} [+-]\.\d{3}…[+-]\.\d{3}", row)) for row in rows] == [4, 4, 1]


def test_the_widest_cells_fit_100_columns():
    widest = Interval(-0.125, -0.151, -0.100)
    differences = {
        "image": {
            baseline: {method: dict.fromkeys(METRICS, widest) for method in METHODS if method != baseline}
            for baseline in ("standardized", "cosine")
        }
    }
    ratio = Interval(1.125, 1.1, 1.151)
    names = ("text", "image", "smaller")
    balance = {method: dict.fromkeys(names, ratio) | {"smaller minus standardized": widest} for method in METHODS}
    text = printed({"a": Comparison({"image": 100}, differences, balance)})
    row = next(line for line in text.splitlines() if "centered+standardized" in line)
    assert row.split() == ["centered+standardized", *["-.125", "-.151…-.100"] * 4]
    last = [line for line in text.splitlines() if "qbnorm+standardized" in line][-1]
    assert last.split() == ["qbnorm+standardized", *["1.125", "1.100…1.151"] * 3, "-.125", "-.151…-.100"]


def test_no_method_is_called_better_unless_its_interval_says_so():
    def column(**by_method):
        differences = {"image": {"standardized": {m: dict.fromkeys(METRICS, i) for m, i in by_method.items()}}}
        return printed({"[bold]a.npz": Comparison({"image": 50}, differences, {})}, 100)

    text = column(
        chance=Interval(0.2, 0.1, 0.3),
        rrf=Interval(0.4, -0.01, 0.9),
        dbsf=Interval(0.5, None, None),
        cosine=Interval(-0.3, -0.4, -0.2),
        **{"image-only": Interval(0.5, 0.4, 0.6)},
    )
    assert "[bold]a.npz: 50 image questions" in text
    assert "better than standardized (MRR@20): chance\n" in text
    assert "worse than standardized (MRR@20): cosine\n" in text
    assert "not told apart from standardized (MRR@20): rrf, dbsf\n" in text
    assert "too few" not in text


def test_few_questions_are_not_called_a_tie():
    ones, zeros = ({"text": np.full(100, v), "image": np.full(19, v)} for v in (1.0, 0.0))
    text = printed({"a": compare(scored(cosine=zeros, standardized=zeros, chance=ones, image_only=ones))})
    texts, images = " ".join(text.split()).split("a: 19 image questions, differences")
    assert "a: 100 text questions, differences with 95% intervals" in texts
    assert "better than standardized (MRR@20): chance" in texts
    images = images.split("a: MRR@20 as a share")[0]
    assert "too few questions to tell methods apart: at least 20 are needed" in images
    for verdict in ("95%", "not told apart", "better than", "worse than"):
        assert verdict not in images


def test_colors_follow_the_interval():
    intervals = {"chance": Interval(0.2, 0.1, 0.3), "rrf": Interval(0.4, -0.1, 0.9), "dbsf": Interval(-1, -2, -0.5)}
    differences = {"text": {"cosine": {m: dict.fromkeys(METRICS, i) for m, i in intervals.items()}}}
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True, color_system="standard", no_color=False)
    print_comparisons({"a": Comparison({"text": 50}, differences, {})}, console)
    rows = {line.split()[0]: line for line in output.getvalue().splitlines() if line.split()}
    assert "\x1b[32m" in rows["chance"]
    assert "\x1b[2m" in rows["rrf"]
    assert "\x1b[32m" not in rows["rrf"]
    assert "\x1b[31m" in rows["dbsf"]


def test_nothing_to_compare_prints_nothing():
    assert printed({"a": compare({})}) == ""


def test_the_command_prints_and_writes_intervals(tmp_path, capsys, monkeypatch):
    pytest.importorskip("typer")
    from cli_world import Command

    monkeypatch.setenv("COLUMNS", "100")
    np.savez(tmp_path / "b.npz", **gapped(questions=60))
    run = Command(capsys)
    wanted = ["--method", "chance", "--method", "standardized", "--method", "rrf"]
    outcome = run("evaluate", tmp_path / "b.npz", *wanted, "--json", tmp_path / "s.json", "--intervals", tmp_path / "i")
    assert outcome.code == 0, outcome.err
    (scores,) = json.loads((tmp_path / "s.json").read_text()).values()
    assert list(scores) == ["chance", "standardized", "rrf"]
    (intervals,) = json.loads((tmp_path / "i").read_text())["files"].values()
    assert list(intervals["differences"]["text"]) == ["standardized"]
    assert "- standardized" in outcome.out
    assert "- cosine" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 100
    outcome = run("evaluate", tmp_path / "b.npz", "--method", "magic")
    assert outcome.code == 1
    assert "unknown methods ['magic']; there are ['cosine'" in outcome.err
