"""``commonscale reproduce`` as a user runs it, with a tiny checkpoint of a real class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("pyarrow")
pytest.importorskip("ir_measures")
pytest.importorskip("matplotlib")

from cli_world import Command
from dataset_files import write_mixbench
from reproduction_world import png, write_world
from tiny_models import save_tiny_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("models") / "clip-vit-base-patch32")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_mmqa_and_mixbench_into_one_report(command: Command, clip: Path, tmp_path: Path) -> None:
    data, out = write_world(tmp_path / "data", 60, zipped=True), tmp_path / "out"
    outcome = command("reproduce", "mmqa", "--data", data, "--encoder", clip, "--out", out, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert "chance" in outcome.out
    assert "Wrote" in outcome.err
    folder = out / "mmqa-clip-vit-base-patch32"
    numbers = json.loads((folder / "numbers.json").read_text("utf-8"))
    assert numbers["model"] == "CLIP (ViT-B/32)"
    assert numbers["counts"]["documents"] == {"text": 60, "image": 60}
    assert (folder / "figure-4.png").is_file()

    assert command("evaluate", folder / "benchmark.npz", "--json", tmp_path / "scores.json").code == 0
    scores = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert scores

    documents = [{"id": str(n), "text": f"On {n}.", "image": f"{n}.png" if n % 2 else None} for n in range(80)]
    pictures = {f"{n}.png": png(n, 32) for n in range(1, 80, 2)}
    questions = {f"q{n}": f"What of {n}?" for n in range(80)}
    relevant = [(f"q{n}", str(n)) for n in range(80)]
    write_mixbench(tmp_path / "mixbench" / "MSCOCO", questions, documents, relevant, pictures)
    outcome = command("reproduce", "mixbench", "--data", tmp_path / "mixbench", "--encoder", clip, "--out", out)
    assert outcome.code == 0, outcome.err
    assert "GR-CLIP" in outcome.out
    page = (out / "report.html").read_text("utf-8")
    assert "31.90\u00a0/\u00a0" in page
    assert "MixBench: NDCG@10" in page


def test_a_missing_file_is_explained_before_the_encoder_is_loaded(command: Command, tmp_path: Path) -> None:
    outcome = command("reproduce", "webqa", "--data", tmp_path, "--encoder", tmp_path / "no encoder", "--out", tmp_path)
    assert outcome.code == 1
    assert "WebQA_train_val.json" in outcome.err
    assert "https://github.com/WebQnA/WebQA" in outcome.err
    outcome = command("reproduce", "mmqa", "--data", tmp_path / "nowhere", "--encoder", "x", "--out", tmp_path)
    assert (outcome.code, "no such folder" in outcome.err) == (1, True)
    outcome = command("reproduce", "coco", "--data", tmp_path, "--encoder", "x", "--out", tmp_path)
    assert (outcome.code, "no data set 'coco'" in outcome.err) == (1, True)
