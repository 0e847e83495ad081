"""Figures, pages and ``commonscale diagnose``, on constructed benchmarks, an index, and real embeddings."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("ir_measures")
pytest.importorskip("faiss")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("semantic_text_splitter")

from PIL import Image

from benchmark_world import gapped
from cli_world import Command, write_folder
from commonscale.core.errors import InvalidInputError
from commonscale.diagnostics import Material, as_json, diagnose, verdict, write_diagnoses
from commonscale.diagnostics.figures import (
    bars_figure,
    curve_figure,
    embedding_figure,
    histogram_figure,
    interval_figure,
)
from commonscale.diagnostics.gains import METRICS
from commonscale.diagnostics.histogram import Histogram
from commonscale.diagnostics.intervals import Estimate
from commonscale.diagnostics.panel import png_bytes, save_png
from commonscale.diagnostics.report import Picture, Report, Section, Table, render_report, write_report
from commonscale.diagnostics.theme import DARK, LIGHT
from commonscale.evaluation import Benchmark, evaluate_benchmark
from tiny_models import save_tiny_clip

POINTS = np.random.default_rng(0).normal(size=(30, 2))

FIGURES = {
    "embedding": lambda theme: embedding_figure(
        {"text": POINTS, "image": POINTS + 3}, pairs=("text", "image"), theme=theme
    ),
    "empty cloud": lambda theme: embedding_figure({"text": POINTS[:0], "audio": POINTS[:1]}, theme=theme),
    "histogram": lambda theme: histogram_figure(
        {"text": Histogram.of(POINTS)}, xlabel="cosine", marks={"0": 0.0}, title="A title", theme=theme
    ),
    "bars": lambda theme: bars_figure(
        {"all": {"cosine": 0.0, "chance": 0.4}}, xlabel="share", mark=("in all", 0.3), percent=True, theme=theme
    ),
    "negative bars": lambda theme: bars_figure({"text": {"a": -1.0}, "image": {"a": 2.0}}, xlabel="x", theme=theme),
    "intervals": lambda theme: interval_figure(
        {"text": {"a": Estimate(0.1, 0.0, 0.2), "b": Estimate(0.1, -1, 1, few=True)}}, xlabel="change", theme=theme
    ),
    "curve": lambda theme: curve_figure(
        [10, 100], {"text": [0.2, 0.1]}, xlabel="n", ylabel="y", limit=("5%", 0.05), reached=("100", 100), theme=theme
    ),
    "straight curve": lambda theme: curve_figure(
        [0, 1], {"a": [1, 2]}, xlabel="n", ylabel="y", log_x=False, theme=theme
    ),
}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_figures_are_pictures_in_the_colors_of_the_theme(draw, theme, tmp_path):
    save_png(draw(theme), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.size[0] > 800
        corner = picture.convert("RGB").getpixel((2, 2))
        assert "#{:02x}{:02x}{:02x}".format(*corner) == theme.paper
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20
    assert png_bytes(draw(theme)) == (tmp_path / "figure.png").read_bytes()


def test_figures_leave_pyplot_alone():
    code = (
        "import sys, numpy as np\n"
        "from commonscale.diagnostics.figures import embedding_figure\n"
        "from commonscale.diagnostics.panel import png_bytes\n"
        "png_bytes(embedding_figure({'text': np.eye(2)}))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_modalities_have_their_colors_wherever_they_stand():
    assert LIGHT.colors(["image", "text"])["text"] == LIGHT.colors(["text"])["text"]
    others = LIGHT.colors(["audio", "text", "image", "questions", "video"])
    assert len(set(others.values())) == 5


class Page(HTMLParser):
    """What a page holds, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.sources += [values[key] for key in ("src", "srcset", "href") if key in values]
        if tag == "img":
            self.alts.append(values["alt"])
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def picture(name: str = "one") -> Picture:
    return Picture(name, FIGURES["embedding"], "points <of> all", "A & B")


def test_a_page_escapes_everything_and_needs_nothing_else():
    table = Table(["<b>", "x"], [["<script>alert(1)</script>", "1"]], caption="<i>", note="'\"", strong=[0])
    section = Section("<h>", ["<v>"], ["<p>"], [table], [picture()], [Section("inner", pictures=[picture("two")])])
    text = render_report(Report("<t>", ["<s>"], [section], ["<f>"]))
    page = Page(text)
    assert page.open == []
    assert "<script" not in text
    shown = " ".join(page.text)
    assert all(word in shown for word in ("<t>", "<s>", "<h>", "<v>", "<p>", "<b>", "<i>", "<f>", "alert(1)", "A & B"))
    assert page.alts == ["points <of> all"] * 2
    assert all(source.startswith(("data:image/png;base64,", "#part-")) for source in page.sources)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_a_report_is_written_with_its_figures(tmp_path):
    files = write_report(Report("t", sections=[Section("s", pictures=[picture("sub/one")])]), tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in files] == ["report.html", "sub/one.png"]
    embedded = [source for source in Page(files[0].read_text("utf-8")).sources if source.startswith("data:")]
    assert base64.b64decode(embedded[1].partition(",")[2]) == files[1].read_bytes()


def test_reports_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="two figures of the report are named 'one'"):
        render_report(Report("t", sections=[Section("s", pictures=[picture(), picture()])]))
    with pytest.raises(InvalidInputError, match="leads out of the report's folder"):
        write_report(Report("t", sections=[Section("s", pictures=[picture("../one")])]), tmp_path)
    with pytest.raises(InvalidInputError, match="has 2 columns, but a row of 1 cells"):
        Table(["a", "b"], [["only"]])


@pytest.fixture(scope="module")
def benchmark_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "mine.npz"
    np.savez(path, **gapped(questions=60))
    return path


def test_gains_are_those_of_an_evaluation(benchmark_file):
    benchmark = Benchmark.load(benchmark_file)
    diagnosis = diagnose(Material.of_benchmark(benchmark))
    scores = evaluate_benchmark(benchmark, ["cosine", "standardized", "chance", "text-only", "image-only"])
    for method in ("standardized", "chance"):
        for modality in ("text", "image"):
            for metric, gain in diagnosis.gains[method][modality].items():
                assert gain.value == pytest.approx(scores[method][modality][metric])
                assert gain.before == pytest.approx(scores["cosine"][modality][metric])
                assert gain.difference.value == pytest.approx(gain.value - gain.before)
    assert diagnosis.ceilings == {m: pytest.approx(scores[f"{m}-only"][m]["mrr@20"]) for m in ("text", "image")}
    assert diagnosis.wanted == {"text": 0.5, "image": 0.5}
    said = " ".join(verdict(diagnosis))
    gain = diagnosis.gains["chance"]["all"]["mrr@20"]
    assert f"from {gain.before:.3f} to {gain.value:.3f} ({gain.difference.value:+.3f} [" in said
    assert "against standardizing, in MRR@20" in said


def test_labels_of_one_kind_say_what_they_cannot_tell():
    arrays = gapped(relevant_modality=np.full(40, "image"))
    said = " ".join(verdict(diagnose(Material.of_benchmark(Benchmark.from_arrays(arrays)))))
    assert "All questions with labels ask for images: what others lose by it, these labels cannot tell." in said


def test_without_calibration_questions_the_halves_calibrate_each_other():
    arrays = gapped(questions=70, calibration_questions=np.empty((0, 16)))
    diagnosis = diagnose(Material.of_benchmark(Benchmark.from_arrays(arrays)))
    assert (diagnosis.banked, diagnosis.asked, diagnosis.held_out) == (70, 70, "halves")
    assert diagnosis.gains["standardized"]["all"]["mrr@20"].questions == 70


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_the_command_on_two_benchmarks(run, benchmark_file, tmp_path):
    other = benchmark_file.parent / "again" / "mine.npz"
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(benchmark_file.read_bytes())
    out = tmp_path / "out"
    outcome = run("diagnose", benchmark_file, other, "--out", out, "-k", "5")
    assert outcome.code == 0, outcome.err
    assert "The gap is wide" in outcome.out
    assert "searching by raw cosine ..." in outcome.err
    data = json.loads((out / "diagnosis.json").read_text("utf-8"))
    assert data["schema_version"] == 1
    assert list(data["diagnoses"]) == ["mine", "mine-2"]
    assert data["diagnoses"]["mine"]["settings"] == {"k": 5, "seed": 0}
    assert data["diagnoses"]["mine"]["verdict"] == data["diagnoses"]["mine-2"]["verdict"]
    page = Page((out / "report.html").read_text("utf-8"))
    assert "The modality gap of 2 collections" in page.text
    figures = sorted(path.name for path in (out / "mine").iterdir())
    assert {"embedding.png", "share-image.png", "gains.png", "all-documents-cosine.png"} <= set(figures)
    assert f"{2 * len(figures)} figures" in outcome.err
    assert not list(out.rglob("*.tmp"))


def keys(data) -> set[str]:
    """The keys of the data, those left out that are names of methods, modalities, groups or metrics."""
    named = ("cosine", "standardized", "chance", "text", "image", "questions", "all", *METRICS)
    below = set().union(*map(keys, data.values())) if isinstance(data, dict) else set()
    return below | {key for key in data if key not in named} if isinstance(data, dict) else below


def test_the_document_names_every_key_of_the_data(benchmark_file):
    written = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text("utf-8")
    found = keys(as_json(diagnose(Material.of_benchmark(Benchmark.load(benchmark_file)))))
    assert len(found) > 40
    assert [key for key in sorted(found) if f'"{key}"' not in written] == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def index(run, clip, tmp_path) -> Path:
    folder = write_folder(tmp_path / "folder")
    assert run("index", folder, "--encoder", clip, "--out", tmp_path / "index").code == 0
    return tmp_path / "index"


def test_the_command_on_an_index(run, index, tmp_path):
    before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
    questions = tmp_path / "questions.txt"
    words = ["red", "blue", "green"], ["dog", "cat", "car"], ["runs", "sleeps", "stands", "waits"]
    questions.write_text("\n".join(f"a {a} {b} {c}" for a in words[0] for b in words[1] for c in words[2]))
    outcome = run("diagnose", index, "--questions", questions, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    said = re.sub(r"\s+", " ", outcome.out)
    assert "36 questions to calibrate with, each half of them asked under the scale of the other half" in said
    assert "cannot be told without labels" in said
    data = json.loads((tmp_path / "out" / "diagnosis.json").read_text("utf-8"))["diagnoses"]["index"]
    assert data["gains"] is None
    assert data["questions"]["held_out"] == "halves"
    assert {path: path.read_bytes() for path in index.rglob("*") if path.is_file()} == before


def test_an_index_knows_the_questions_that_it_was_calibrated_with(run, index, tmp_path):
    questions = tmp_path / "questions.txt"
    words = ["red green blue", "dog cat", "on grass,by a sea,at night,in snow,on a hill,in a box"]
    colors, animals, places = words[0].split(), words[1].split(), words[2].split(",")
    questions.write_text("\n".join(f"a {c} {a} {p}" for c in colors for a in animals for p in places))
    assert run("calibrate", index, "--questions", questions).code == 0
    for arguments in ((), ("--questions", questions)):
        outcome = run("diagnose", index, *arguments, "--out", tmp_path / "out")
        assert outcome.code == 0, outcome.err
        assert "36 questions to calibrate with, each half of them asked under the scale of the other half" in " ".join(
            outcome.out.split()
        )


def test_an_index_needs_questions(run, index, tmp_path):
    outcome = run("diagnose", index, "--out", tmp_path / "out")
    assert outcome.code == 1
    assert "with --questions FILE" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_an_index_is_refused(run, tmp_path):
    (tmp_path / "questions.txt").write_text("what?\n")
    outcome = run("diagnose", tmp_path, "--questions", tmp_path / "questions.txt", "--out", tmp_path / "out")
    assert outcome.code == 1
    assert "no index here" in outcome.err


def test_real_embeddings(shared, tmp_path):
    diagnosis = diagnose(Material.of_benchmark(Benchmark.load(shared / "data" / "coco-clip-b32.npz")))
    distances = {(gap.one, gap.other): gap.distance for gap in diagnosis.gaps}
    # Liang et al. 2022 give 0.82 for CLIP on pairs of COCO.
    assert distances["text", "image"] == pytest.approx(0.82, abs=0.05)
    assert diagnosis.methods["cosine"].shares["all"].hits["image"] == 0
    assert diagnosis.gains["chance"]["image"]["mrr@20"].value == pytest.approx(0.605, abs=0.001)
    assert diagnosis.gains["standardized"]["image"]["recall@20"].value == pytest.approx(0.701, abs=0.001)
    assert diagnosis.curves["standardized"].enough in (75, 100, 150)
    files = write_diagnoses([diagnosis], tmp_path)
    assert all(path.stat().st_size > 0 for path in files)
