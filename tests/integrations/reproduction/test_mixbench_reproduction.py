from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("ir_measures")

from commonscale.core.errors import InvalidInputError
from commonscale.evaluation import Benchmark
from commonscale.reproduction import Sizes, reproduce
from dataset_files import write_mixbench
from reproduction_world import WorldEncoder, png, vector

pytestmark = pytest.mark.filterwarnings(
    "ignore::commonscale.core.errors.FewQuestionsWarning",
    "ignore::commonscale.core.errors.DegenerateStatisticsWarning",
)

COUNT = 45


def write_subset(folder: Path, **options: Any) -> Path:
    """Every third document is words, a picture, or both; question n is about document n, and n + 4 for every fifth."""
    documents = [
        {"id": f"d{n}", "text": f"On {n}." if n % 3 != 1 else None, "image": f"{n}.png" if n % 3 else None}
        for n in range(COUNT)
    ]
    relevant = [(f"q{n}", f"d{n}") for n in range(COUNT)] + [
        (f"q{n}", f"d{(n + 4) % COUNT}") for n in range(0, COUNT, 5)
    ]
    questions = {f"q{n}": f"What of {n}?" for n in range(COUNT)}
    pictures = {f"{n}.png": png(n) for n in range(COUNT) if n % 3}
    return write_mixbench(folder, questions, documents, relevant, pictures, **options)


def run(data: Path, out: Path, **sizes: Any) -> tuple[Path, dict[str, Any]]:
    folder = reproduce("mixbench", data, out, WorldEncoder(), encoder_name="world", sizes=Sizes(**sizes))
    return folder, json.loads((folder / "numbers.json").read_text())


def test_figures_from_first_principles(tmp_path: Path) -> None:
    write_subset(tmp_path / "data" / "OVEN")
    _, numbers = run(tmp_path / "data", tmp_path / "out")
    found = numbers["subsets"]["OVEN"]
    assert found["documents"] == {"text": 15, "image": 15, "mixed": 15}
    assert (found["questions"], found["several_relevant"]) == (45, 9)
    expected = independent()
    for method in ("cosine", "centered"):
        for figure, value in expected[method].items():
            assert found["methods"][method][figure] == pytest.approx(value, abs=1e-6), (method, figure)
    published, standard = (found["methods"]["cosine"][f"ndcg@10{end}"] for end in (" as published", ""))
    assert published > standard, "with several relevant documents the script's figure is too high"
    assert found["methods"]["centered"]["ndcg@10"] > standard
    assert set(found["methods"]) == {"cosine", "centered", "standardized", "centered+standardized", "chance"}


def independent() -> dict[str, dict[str, float]]:
    """GR-CLIP's formulas in NumPy, one question at a time, with scikit-learn's NDCG."""
    ndcg_score = pytest.importorskip("sklearn.metrics").ndcg_score
    words = {n: vector(n, "text") for n in range(COUNT) if n % 3 != 1}
    pictures = {n: vector(n, "image") for n in range(COUNT) if n % 3}
    questions = np.array([vector(n, "question") for n in range(COUNT)])
    halves = np.arange(COUNT) % 2
    np.random.default_rng(42).shuffle(halves)
    means = np.mean(list(words.values()), axis=0), np.mean(list(pictures.values()), axis=0)
    scores: dict[str, list[list[float]]] = {"cosine": [], "centered": []}
    for row, question in enumerate(questions):
        other = questions[halves != halves[row]].mean(axis=0)
        for name, moved in (("cosine", False), ("centered", True)):
            asked = question - other if moved else question
            w, p = means if moved else (0.0, 0.0)
            line = []
            for n in range(COUNT):
                document = 0.5 * (words.get(n, w) - w) + 0.5 * (pictures.get(n, p) - p)
                line.append(float(asked @ document / np.linalg.norm(asked) / np.linalg.norm(document)))
            scores[name].append(line)
    gains = np.eye(COUNT)
    for n in range(0, COUNT, 5):
        gains[n, (n + 4) % COUNT] = 1.0
    found = {}
    for name, lines in scores.items():
        matrix = np.array(lines)
        top = np.argsort(-matrix, axis=1)[:, :10]
        cut = [
            ndcg_score([gains[q, top[q]]], [matrix[q, top[q]]], k=10) if gains[q, top[q]].any() else 0.0
            for q in range(COUNT)
        ]
        found[name] = {"ndcg@10": float(ndcg_score(gains, matrix, k=10)), "ndcg@10 as published": float(np.mean(cut))}
    return found


def test_both_cards_give_the_same(tmp_path: Path) -> None:
    write_subset(tmp_path / "new" / "MSCOCO")
    write_subset(tmp_path / "old" / "MSCOCO", older=True)
    new, old = (run(tmp_path / name, tmp_path / f"out-{name}")[1]["subsets"]["MSCOCO"] for name in ("new", "old"))
    assert new["methods"] == old["methods"]


def test_the_benchmark_file_holds_what_has_a_place_in_it(tmp_path: Path) -> None:
    write_subset(tmp_path / "data" / "OVEN")
    folder, _ = run(tmp_path / "data", tmp_path / "out")
    benchmark = Benchmark.load(folder / "OVEN.npz")
    assert {modality: len(rows) for modality, rows in benchmark.documents.items()} == {"text": 15, "image": 15}
    assert len(benchmark.calibration_questions) == 23
    assert 0 < len(benchmark.questions) < 22, "those about documents of both kinds are left out"


def test_what_cannot_be_embedded_is_told_of_and_a_second_run_scores_nothing(tmp_path: Path) -> None:
    data = write_subset(tmp_path / "data" / "OVEN").parent
    (data / "OVEN" / "images" / "1.png").write_bytes(b"no picture")
    folder, first = run(data, tmp_path / "out")
    notes = " ".join(first["subsets"]["OVEN"]["notes"])
    assert "OVEN: 1 documents could not be embedded" in notes
    assert "OVEN: 1 questions were left out" in notes
    written = (folder / "methods" / "OVEN.json").stat().st_mtime_ns
    assert run(data, tmp_path / "out")[1] == first
    assert (folder / "methods" / "OVEN.json").stat().st_mtime_ns == written


def test_less_of_it_and_wrong_use(tmp_path: Path) -> None:
    data = write_subset(tmp_path / "data" / "OVEN").parent
    _, numbers = run(data, tmp_path / "out", limit=9, documents=5)
    found = numbers["subsets"]["OVEN"]
    assert found["questions"] == 9
    assert sum(found["documents"].values()) == 9 + found["several_relevant"] + 5
    for wrong in ({"pool": "context"}, {"training": 3}):
        with pytest.raises(InvalidInputError, match="one pool only"):
            run(data, tmp_path / "out", **wrong)
    (data / "OVEN" / "qrel.jsonl").write_text('{"query_id": "q1", "corpus_id": "d1", "score": 1}\n')
    with pytest.raises(InvalidInputError, match="MixBench OVEN: 1 questions have a relevant document"):
        run(data, tmp_path / "out")
