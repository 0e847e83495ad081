"""``commonscale calibrate``, ``search`` and ``evaluate``, and the command as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("faiss")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("semantic_text_splitter")

from cli_world import Command, Outcome, write_folder
from commonscale import Calibration, JointSearch, Question, load_encoder
from commonscale.cli.questions import read_questions
from commonscale.cli.scale_table import chosen
from commonscale.cli.search_command import print_ranking
from commonscale.core.errors import CommonscaleWarning, FewQuestionsWarning, FileFormatError, InvalidInputError
from commonscale.core.methods import UNLABELED
from commonscale.core.questions import QuestionBank
from commonscale.core.types import Candidates, Hit, Ranking
from commonscale.embedding.scan import sha256_of
from commonscale.index import Document, FaissIndex
from tiny_models import save_tiny_clip

QUESTIONS = [
    f"{count} {color} {animal}" for count in ("a", "two") for color in ("red", "blue") for animal in ("dog", "cat")
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def out(run: Command, clip: Path, tmp_path: Path) -> Path:
    folder = write_folder(tmp_path / "folder")
    assert run("index", folder, "--encoder", clip, "--out", tmp_path / "index").code == 0
    return tmp_path / "index"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    path.write_text("\ufeff" + "\n\n".join(QUESTIONS) + "\n")
    return path


@pytest.fixture
def calibrated(run: Command, out: Path, questions: Path) -> Outcome:
    outcome = run("calibrate", out, "--questions", questions, "--method", "standardized")
    assert outcome.code == 0
    return outcome


def expected(out: Path, clip: Path) -> tuple[JointSearch, Calibration]:
    """The same calibration through the library."""
    index = FaissIndex.open(out)
    search = JointSearch(index.sources(), provenance=index.provenance())
    vectors = load_encoder(clip).encode_questions(QUESTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CommonscaleWarning)
        return search, search.calibrate([Question(vector=vector) for vector in vectors], method="standardized")


def test_calibrating_writes_the_file_and_prints_the_numbers(calibrated: Outcome, out: Path, clip: Path) -> None:
    _, calibration = expected(out, clip)
    written = Calibration.load(out / "calibration.json")
    assert written.questions == len(QUESTIONS)
    for modality, entry in calibration.modalities.items():
        numbers = written.modalities[modality].statistics
        assert (numbers.mean, numbers.std, numbers.count) == pytest.approx(
            (entry.statistics.mean, entry.statistics.std, 8), abs=1e-6
        )
        assert written.modalities[modality].provenance == entry.provenance
        row = next(line for line in calibrated.out.splitlines() if f" {modality} " in line)
        for value in (numbers.mean, numbers.std, numbers.standard_error):
            assert f"{value:.4f}" in row
    assert "warning: the statistics of modality 'text' rest on 8 different questions" in calibrated.err
    assert "Traceback" not in calibrated.err


def test_the_default_is_the_chance_level(run: Command, out: Path, clip: Path, questions: Path) -> None:
    outcome = run("calibrate", out, "--questions", questions)
    assert outcome.code == 0
    search, _ = expected(out, clip)
    vectors = load_encoder(clip).encode_questions([*QUESTIONS, "a red dog"])
    with pytest.warns(FewQuestionsWarning):
        search.calibrate([Question(vector=vector) for vector in vectors[:-1]])
    for entry in search.calibration.modalities.values():
        for value in (entry.background.mean, entry.background.level):
            assert f"{value:.4f}" in outcome.out
    ranking = search.search(Question(vector=vectors[-1]), 4)
    hits = run.hits(out, "a red dog", "-k", 4)
    assert [(hit["id"], hit["modality"]) for hit in hits] == [(hit.id, hit.modality) for hit in ranking]
    assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in ranking], abs=1e-3)
    wrong = run("calibrate", out, "--questions", questions, "--method", "magic")
    assert wrong.code == 1
    assert "unknown method 'magic'; calibrate with one of chance" in wrong.err


@pytest.mark.parametrize(
    ("method", "explained"),
    [
        ("chance", "distance above the chance level in units of scale"),
        ("standardized", "0 is the best hit of an average question"),
        ("centered", "the cosine after subtracting the average question and document"),
        ("centered+standardized", "the distance above the mean in units of std"),
    ],
)
def test_calibrating_names_the_method_and_explains_the_columns(
    run: Command, out: Path, questions: Path, method: str, explained: str
) -> None:
    outcome = run("calibrate", out, "--questions", questions, "--method", method)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0].endswith(f" for 8 questions ({method})")
    assert explained in " ".join(outcome.out.split())


def test_a_default_that_is_not_the_chance_level_says_why(run: Command, out: Path, questions: Path) -> None:
    assert "8 questions (auto: chance)" in run("calibrate", out, "--questions", questions).out
    folder = out.with_name("folder")
    (folder / "long.txt").unlink()
    run("index", folder, "--out", out)
    outcome = run("calibrate", out, "--questions", questions)
    assert outcome.code == 0, outcome.err
    assert "(auto: standardized, since there is one document of text only, or copies of one)" in outcome.out
    # Asked for by name, nothing is chosen.
    assert (
        "8 questions (standardized)" in run("calibrate", out, "--questions", questions, "--method", "standardized").out
    )


def test_the_choice_by_spread_or_by_the_store_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    index = FaissIndex.create(tmp_path / "wide", 3)
    for modality in ("text", "image"):
        documents = [Document(f"{modality}{number}", modality) for number in range(60)]
        index.add(documents, rng.standard_normal((60, 3)).astype(np.float32))
    sources = index.sources()
    asked = [Question(vector=vector) for vector in rng.standard_normal((60, 3)).astype(np.float32)]
    search = JointSearch(sources)
    assert search.calibrate(asked).method == "standardized"
    told = chosen("auto", "standardized", asked, sources)
    spread = QuestionBank.fit(asked, sources, method="chance").backgrounds
    widest = max(spread, key=lambda modality: spread[modality].std)
    assert told == (
        f"auto: standardized, since similarities of {widest} spread by {spread[widest].std:.3f} around their mean "
        f"(limit 0.3)"
    )

    class Closed:
        """A source that does not give its vectors."""

        def search(self, questions: list[Question], k: int) -> list[Candidates]:
            return sources["text"].search(questions, k)

    assert chosen("auto", "standardized", asked, {"text": Closed()}).endswith("vectors cannot be read")
    assert chosen("standardized", "standardized", asked, sources) == "standardized"


def test_searching_ranks_like_the_library(calibrated: Outcome, run: Command, out: Path, clip: Path) -> None:
    search, _ = expected(out, clip)
    (vector,) = load_encoder(clip).encode_questions(["a red dog"])
    for raw in (False, True):
        ranking = search.search(Question(vector=vector), 4, raw=raw)
        hits = run.hits(out, "a red dog", "-k", 4, *(["--raw"] if raw else []))
        assert [hit["id"] for hit in hits] == ranking.ids
        assert [hit["rank"] for hit in hits] == [1, 2, 3, 4]
        assert [hit["cosine"] for hit in hits] == pytest.approx([hit.cosine for hit in ranking], abs=1e-6)
        if raw:
            assert [hit["score"] for hit in hits] == [None] * 4
        else:
            assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in ranking], abs=1e-3)


def test_the_table_shows_rank_score_cosine_and_snippet(calibrated: Outcome, run: Command, out: Path) -> None:
    hits = run.hits(out, "a dog on grass", "-k", 3)
    outcome = run("search", out, "a dog on grass", "-k", 3)
    assert outcome.code == 0
    for hit in hits:
        row = next(line for line in outcome.out.splitlines() if hit["id"] in line)
        assert f"{hit['score']:+.3f}" in row
        assert f"{hit['cosine']:.4f}" in row
        assert hit["modality"] in row
        assert " ".join(hit["text"].split()[:3]) in outcome.out


def test_the_table_shows_where_pictures_lie(
    calibrated: Outcome, run: Command, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    path = next(hit["path"] for hit in run.hits(out, "a red dog", "-k", 9) if hit["id"] == "red.png")
    shown = run("search", out, "a red dog", "-k", 9).out
    assert path in shown
    assert shown.count(str(out.with_name("folder"))) == shown.count(" image ")  # passages show their words
    monkeypatch.chdir(out.parent)
    assert f" {Path('folder', 'red.png')} " in run("search", out, "a red dog", "-k", 9).out
    monkeypatch.chdir("folder")
    assert run("search", out, "a red dog", "-k", 9).out.count("red.png") == 1  # where the id says it already


def test_a_picture_without_a_file_is_shown_by_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    documents = [Document("far", "image", path="https://example.org/a.png"), Document("no file", "image", "a caption")]
    print_ranking("which?", Ranking(tuple(Hit(d.id, d.modality, 0.5, 1.0, d) for d in documents)), raw=False)
    rows = [line.strip("│┃ ").split("│")[-1].strip() for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row in ("far", "https://example.org/a.png", "no file", "a caption")] == [
        "far",
        "https://example.org/a.png",
        "no file",
        "a caption",
    ]


def test_quotas_balance_the_ranking(calibrated: Outcome, run: Command, out: Path) -> None:
    hits = run.hits(out, "a red dog", "-k", 5, "--minimum", "image=3", "--maximum", "text=1")
    assert sorted(hit["modality"] for hit in hits) == ["image", "image", "image", "text"]
    for bad in ("image", "image=", "=3", "image=-1", "image=three"):
        outcome = run("search", out, "a red dog", "--minimum", bad)
        assert outcome.code == 2
        assert "not of the form MODALITY=NUMBER" in outcome.err
    outcome = run("search", out, "a red dog", "--maximum", "video=2")
    assert (outcome.code, "quota for unknown modality 'video'" in outcome.err) == (1, True)


def test_many_questions_give_one_line_of_json_each(
    calibrated: Outcome, run: Command, out: Path, questions: Path
) -> None:
    outcome = run("search", out, "--questions", questions, "--json", "-k", 2)
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["question"] for line in lines] == QUESTIONS
    assert {len(line["hits"]) for line in lines} == {2}
    assert {line["ranked_by"] for line in lines} == {"score"}
    assert [hit["id"] for hit in lines[3]["hits"]] == [hit["id"] for hit in run.hits(out, QUESTIONS[3], "-k", 2)]


def test_without_calibration_the_command_that_makes_one_is_named(run: Command, out: Path) -> None:
    outcome = run("search", out, "a red dog")
    assert outcome.code == 1
    assert outcome.out == ""
    assert f"commonscale calibrate {out} --questions FILE" in outcome.err
    assert len(run.hits(out, "a red dog", "--raw", "-k", 3)) == 3


@pytest.mark.parametrize("method", ["standardized", "chance"])
def test_indexing_again_brings_the_calibration_up_to_date(
    run: Command, out: Path, clip: Path, questions: Path, tmp_path: Path, method: str
) -> None:
    run("calibrate", out, "--questions", questions, "--method", method)
    before = Calibration.load(out / "calibration.json")
    assert "up to date" not in run("index", tmp_path / "folder", "--out", out).err
    (tmp_path / "folder" / "new.txt").write_text("a new dog")
    (tmp_path / "folder" / "red.png").unlink()
    outcome = run("index", tmp_path / "folder", "--out", out)
    assert outcome.code == 0
    assert "The calibration was brought up to date with the 8 questions that it is of." in outcome.err
    kept = Calibration.load(out / "calibration.json")
    assert run("search", out, "a red dog").err == ""
    run("calibrate", out, "--questions", questions, "--method", method)
    fresh = Calibration.load(out / "calibration.json")
    for modality, entry in fresh.modalities.items():
        mine = kept.modalities[modality]
        assert (mine.location, mine.scale) == pytest.approx((entry.location, entry.scale), abs=1e-6)
        assert mine.statistics.mean == pytest.approx(entry.statistics.mean, abs=1e-6)
    means = {m: entry.statistics.mean for m, entry in kept.modalities.items()}
    assert means != {m: entry.statistics.mean for m, entry in before.modalities.items()}
    # Nothing of the questions' wording is kept.
    assert not any(question.encode() in (out / "questions.npz").read_bytes() for question in QUESTIONS)


def test_a_modality_that_comes_is_calibrated_too(run: Command, out: Path, questions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    texts = list(folder.rglob("*.txt"))
    held = {path: path.read_bytes() for path in texts}
    for path in texts:
        path.unlink()
    run("index", folder, "--out", out)
    run("calibrate", out, "--questions", questions, "--method", "standardized")
    assert list(Calibration.load(out / "calibration.json").modalities) == ["image"]
    for path, data in held.items():
        path.write_bytes(data)
    assert "brought up to date" in run("index", folder, "--out", out).err
    assert sorted(Calibration.load(out / "calibration.json").modalities) == ["image", "text"]
    assert run("search", out, "a red dog").err == ""


def test_a_damaged_bank_is_a_warning(calibrated: Outcome, run: Command, out: Path, tmp_path: Path) -> None:
    index = FaissIndex.open(out)
    (out / "questions.npz").write_bytes(b"nothing")
    index.set_note("calibration", {**index.notes["calibration"], "bank": sha256_of(out / "questions.npz")})
    index.save()
    (tmp_path / "folder" / "new.txt").write_text("a new dog")
    outcome = run("index", tmp_path / "folder", "--out", out)
    assert outcome.code == 0
    assert "warning: the calibration could not be brought up to date" in outcome.err


def test_a_changed_index_or_calibration_is_warned_of(
    calibrated: Outcome, run: Command, out: Path, tmp_path: Path
) -> None:
    assert run("search", out, "a red dog").err == ""
    (tmp_path / "folder" / "new.txt").write_text("a new dog")
    (out / "questions.npz").unlink()
    run("index", tmp_path / "folder", "--out", out)
    outcome = run("search", out, "a red dog", "--json")
    assert outcome.code == 0
    count = len(FaissIndex.open(out))
    assert (
        f"the index have changed since it was calibrated (it held {count - 1} then, and holds {count} now)"
        in outcome.err
    )
    assert json.loads(outcome.out)["hits"]
    assert run("search", out, "a red dog", "--raw").err == ""
    path = out / "calibration.json"
    path.write_text(path.read_text() + "\n")
    assert "was not written by 'commonscale calibrate' for this index" in run("search", out, "a red dog").err
    path.write_text("{")
    outcome = run("search", out, "a red dog")
    assert (outcome.code, f"error: {path}: not a calibration" in outcome.err) == (1, True)


def test_another_encoder_is_refused(
    calibrated: Outcome, run: Command, out: Path, questions: Path, tmp_path: Path
) -> None:
    other = save_tiny_clip(tmp_path / "other", seed=1)
    for outcome in (
        run("search", out, "a red dog", "--encoder", other),
        run("calibrate", out, "--questions", questions, "--encoder", other),
    ):
        assert outcome.code == 1
        assert "is another one" in outcome.err


def test_wrong_usage_of_search(run: Command, out: Path, questions: Path, tmp_path: Path) -> None:
    assert run("search", out).code == 2
    assert run("search", out, "a dog", "--questions", questions).code == 2
    assert run("search", out, "a dog", "-k", 0).code == 2
    outcome = run("search", tmp_path, "a dog", "--raw")
    assert outcome.code == 1
    assert "no index here; make one with: commonscale index FOLDER" in outcome.err
    assert run("calibrate", out, "--questions", tmp_path / "nowhere.txt").code == 2


def test_what_a_terminal_would_obey_is_not_printed(run: Command, out: Path) -> None:
    index = FaissIndex.open(out)
    vector = index.vectors(["red.png"])
    index.add([Document("evil\x1b[2J\udcff.txt", "text", text="[bold]not markup[/bold] \x1b]0;title\x07")], vector)
    index.save()
    outcome = run("search", out, "a \x1b[31m dog", "--raw", "-k", 50)
    assert outcome.code == 0
    assert "\x1b" not in outcome.out
    assert "[bold]not markup[/bold]" in outcome.out
    assert {hit["id"] for hit in run.hits(out, "a dog", "--raw", "-k", 50)} >= {"evil\x1b[2J\udcff.txt"}


def test_files_of_questions(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": " a dog ", "id": 3}\n\n{"question": "a dog"}\n{"question": "sep\u2028arated"}\n')
    assert read_questions(path) == ["a dog", "a dog", "sep\u2028arated"]
    path.write_text('{"question": "a dog"}\n{"text": "a dog"}\n')
    with pytest.raises(FileFormatError, match='line 2 needs a field "question"'):
        read_questions(path)
    path.write_text('{"question": "a dog"}\nwhat?\n')
    with pytest.raises(FileFormatError, match="line 2 is no JSON"):
        read_questions(path)
    plain = tmp_path / "q.txt"
    plain.write_text("\n \n")
    with pytest.raises(InvalidInputError, match="holds no question"):
        read_questions(plain)
    plain.write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(FileFormatError, match="not UTF-8"):
        read_questions(plain)


def test_evaluating_benchmark_files(run: Command, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    rng = np.random.default_rng(0)
    texts, images = rng.standard_normal((2, 40, 8)).astype(np.float32)
    np.savez(
        tmp_path / "small.npz",
        questions=np.vstack([texts, images]),
        calibration_questions=rng.standard_normal((50, 8)).astype(np.float32),
        texts=texts,
        images=images,
        relevant_question=np.arange(80),
        relevant_modality=np.repeat(["text", "image"], 40),
        relevant_index=np.tile(np.arange(40), 2),
    )
    outcome = run("evaluate", tmp_path / "small.npz", "--json", tmp_path / "results.json")
    assert outcome.code == 0, outcome.err
    (scores,) = json.loads((tmp_path / "results.json").read_text()).values()
    assert scores["text-only"]["text"]["recall@1"] == 1.0
    assert "standardized" in outcome.out
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    outcome = run("evaluate", tmp_path / "bad.npz")
    assert (outcome.code, "Traceback" in outcome.err) == (1, False)
    assert "bad.npz" in outcome.err


@pytest.mark.parametrize("calibrated_before", [False, True])
def test_an_index_that_holds_nothing_says_so_and_what_to_do(
    run: Command, out: Path, questions: Path, calibrated_before: bool
) -> None:
    if calibrated_before:
        assert run("calibrate", out, "--questions", questions).code == 0
    folder = out.with_name("folder")
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    (folder / "broken.png").write_bytes(b"no picture")
    assert run("index", folder, "--out", out).code == 3
    before = sorted(path.name for path in out.iterdir())
    for arguments in (("search", out, "a dog"), ("search", out, "a dog", "--raw")):
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (1, "")
        assert "the index is empty" in outcome.err
        assert f"commonscale index {folder.resolve()} --out {out}" in outcome.err
    assert "the index is empty" in run("calibrate", out, "--questions", questions).err
    assert sorted(path.name for path in out.iterdir()) == before


@pytest.mark.parametrize("question", ["", "  "])
def test_the_empty_question_is_refused(run: Command, out: Path, question: str) -> None:
    outcome = run("search", out, question, "--raw")
    assert (outcome.code, outcome.out) == (2, "")
    assert "the question is empty" in outcome.err


def test_questions_nested_too_deep_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "a"}\n' + "[" * 200_000)
    with pytest.raises(FileFormatError, match="line 2 is no JSON"):
        read_questions(path)


def test_version_and_help(run: Command) -> None:
    from commonscale import __version__

    assert run("--version").out == f"commonscale {__version__}\n"
    for name in ("index", "calibrate", "search", "evaluate", "demo"):
        outcome = run(name, "--help")
        assert outcome.code == 0
        assert "Usage: commonscale " + name in outcome.out
    assert "130" in run("index", "--help").out
    assert '"ranked_by"' in run("search", "--help").out
    # Every method is explained where it can be chosen, and where its scores are read.
    for name in ("calibrate", "search"):
        shown = run(name, "--help").out
        for method in UNLABELED:
            assert f'"{method}"' in shown
    assert '"auto"' in run("calibrate", "--help").out


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_cli_packages_the_last_line_is_the_pip_command(package: str) -> None:
    ended = python(f"import sys; sys.modules[{package!r}] = None\nfrom commonscale.cli import main; main(['--help'])")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[-1] == "pip install 'commonscale[cli]'"
    assert "Traceback" not in ended.stderr


def test_the_package_runs_as_a_module() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "commonscale", "--version"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("commonscale ")
    ended = python(
        "import runpy, sys; sys.modules['typer'] = None\nrunpy.run_module('commonscale', run_name='__main__')"
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "pip install 'commonscale[cli]'"
    assert "Traceback" not in ended.stderr


def test_help_loads_no_model_library() -> None:
    ended = python(
        "import sys\nfrom commonscale.cli import main\ntry: main(['index', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(sorted({'torch', 'transformers', 'faiss', 'PIL'} & set(sys.modules)) or 0)"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
