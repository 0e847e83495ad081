"""Pictures that are questions on the command line: calibrating with them, and searching by one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("faiss")

from cli_world import Command, picture, write_folder
from commonscale import Calibration, JointSearch, Question, load_encoder
from commonscale.cli.pictures import read_pictures
from commonscale.core.errors import CommonscaleWarning, FileFormatError, InvalidInputError
from commonscale.index import FaissIndex
from tiny_models import save_tiny_clip

COLORS = ["orange", "purple", "black", "white", "gray", "pink", "brown", "cyan", "navy", "olive", "teal", "lime"]


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
def asked(tmp_path: Path) -> Path:
    """A folder of pictures to ask with; one of them, red, is indexed as well."""
    folder = tmp_path / "asked"
    (folder / "deep").mkdir(parents=True)
    for color in COLORS:
        (folder / "deep" / f"{color}.png").write_bytes(picture(color))
    (folder / "red.PNG").write_bytes(picture("red"))
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(picture("blue"))
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    path.write_text("a red dog\ntwo blue cats\na dog on grass\n")
    return path


def expected(out: Path, clip: Path, asked: Path, method: str = "standardized") -> JointSearch:
    """The same calibration through the library."""
    index = FaissIndex.open(out)
    search = JointSearch(index.sources(), provenance=index.provenance())
    vectors = load_encoder(clip).encode_images(read_pictures(asked))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CommonscaleWarning)
        search.calibrate([Question(vector=vector, kind="image") for vector in vectors], method=method)
    return search


def test_a_picture_finds_texts_and_pictures_on_its_scale(run: Command, out: Path, clip: Path, asked: Path) -> None:
    outcome = run("search", out, "--image", asked / "red.PNG")
    assert outcome.code == 1
    assert "--images FOLDER" in outcome.err
    outcome = run("calibrate", out, "--images", asked, "--method", "standardized")
    assert outcome.code == 0, outcome.err
    assert f"{len(COLORS) + 1} pictures (standardized)" in outcome.out
    search = expected(out, clip, asked)
    known = search.calibration
    written = Calibration.load(out / "calibration.json").image_questions
    assert known is not None
    assert written is not None
    assert known.image_questions is not None
    for modality, entry in known.image_questions.modalities.items():
        found = written.modalities[modality].statistics
        assert (found.mean, found.std) == pytest.approx((entry.statistics.mean, entry.statistics.std), abs=1e-6)
    for path in (asked / "red.PNG", asked / "deep" / "pink.png"):
        vector = load_encoder(clip).encode_images([path])[0]
        ranking = search.search(Question(vector=vector, kind="image"), 10)
        hits = run.hits(out, "--image", path)
        assert [hit["id"] for hit in hits] == ranking.ids
        np.testing.assert_allclose([hit["score"] for hit in hits], [hit.score for hit in ranking], atol=1e-4)
        raw = run.hits(out, "--image", path, "--raw")
        cosines = sorted((hit.cosine for hit in search.search(Question(vector=vector, kind="image"), 10)), reverse=True)
        np.testing.assert_allclose([hit["cosine"] for hit in raw], cosines, atol=1e-6)
    printed = run("search", out, "--image", asked / "red.PNG", "--json").out
    assert json.loads(printed)["question"] == str(asked / "red.PNG")
    assert "red.png" in run("search", out, "--image", asked / "red.PNG").out


def test_each_kind_of_question_keeps_its_own(run: Command, out: Path, asked: Path, questions: Path) -> None:
    assert run("calibrate", out, "--images", asked, "--method", "standardized").code == 0
    outcome = run("search", out, "a red dog")
    assert (outcome.code, "--questions FILE" in outcome.err) == (1, True)
    pictures = Calibration.load(out / "calibration.json").image_questions
    assert run("calibrate", out, "--questions", questions, "--method", "standardized").code == 0
    both = Calibration.load(out / "calibration.json")
    assert pictures is not None
    assert both.image_questions is not None
    for modality, entry in pictures.modalities.items():
        found = both.image_questions.statistics(modality)
        assert found.mean == pytest.approx(entry.statistics.mean, abs=1e-6)
    words = run.hits(out, "a red dog")
    assert run("calibrate", out, "--images", asked, "--method", "standardized").code == 0
    again = run.hits(out, "a red dog")
    assert [hit["id"] for hit in again] == [hit["id"] for hit in words]
    assert [hit["score"] for hit in again] == pytest.approx([hit["score"] for hit in words], abs=1e-4)


def scales(out: Path) -> dict[str, Calibration]:
    """The scales of questions in words and of pictures."""
    both = Calibration.load(out / "calibration.json")
    assert both.image_questions is not None
    return {"text": both, "image": both.image_questions}


@pytest.mark.parametrize("first", ["--questions", "--images"])
@pytest.mark.parametrize("method", ["standardized", "centered"])
def test_without_a_method_the_kind_that_is_given_takes_that_of_the_kind_that_is_kept(
    run: Command, out: Path, asked: Path, questions: Path, first: str, method: str
) -> None:
    given: list[tuple[str, Path]] = [("--questions", questions), ("--images", asked)]
    kind, name, other = (
        ("text", "questions", "pictures") if first == "--questions" else ("image", "pictures", "questions")
    )
    if first == "--images":
        given.reverse()
    assert run("calibrate", out, *given[0], "--method", method).code == 0
    alone = Calibration.load(out / "calibration.json")
    before = alone if kind == "text" else alone.image_questions
    assert before is not None
    outcome = run("calibrate", out, *given[1])
    assert outcome.code == 0, outcome.err
    after = scales(out)
    assert [scale.method for scale in after.values()] == [method, method]
    for modality, entry in before.modalities.items():
        found = after[kind].modalities[modality]
        assert (found.location, found.scale) == pytest.approx((entry.location, entry.scale), abs=1e-9)
    assert f" {name} ({method}, kept)" in outcome.out
    assert f" {other} ({method}, as for the {name})" in outcome.out
    assert "anew" not in outcome.err
    # And again, the other way round.
    assert run("calibrate", out, *given[0]).code == 0
    assert [scale.method for scale in scales(out).values()] == [method, method]


@pytest.mark.parametrize("method", ["standardized", "centered+standardized", "auto"])
def test_a_method_that_is_given_is_that_of_both_kinds_and_said(
    run: Command, out: Path, asked: Path, questions: Path, method: str
) -> None:
    assert run("calibrate", out, "--questions", questions, "--method", "centered").code == 0
    outcome = run("calibrate", out, "--images", asked, "--method", method)
    assert outcome.code == 0, outcome.err
    # In this small world similarities spread too widely for the chance level.
    used = "standardized" if method == "auto" else method
    assert [scale.method for scale in scales(out).values()] == [used, used]
    (line,) = [line for line in outcome.err.splitlines() if "one method for all kinds" in line]
    assert "questions in words, which had 'centered', were calibrated anew" in line
    assert repr(used) in line
    assert "kept" not in outcome.out
    fresh = run("calibrate", out, "--questions", questions, "--images", asked, "--method", method)
    assert "anew" not in fresh.err


def test_a_scale_whose_questions_are_not_known_stays(
    run: Command, out: Path, clip: Path, asked: Path, questions: Path, tmp_path: Path
) -> None:
    # As the library writes it: without a bank.
    index = FaissIndex.open(out)
    search = JointSearch(index.sources(), provenance=index.provenance())
    vectors = load_encoder(clip).encode_questions(questions.read_text().splitlines())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CommonscaleWarning)
        known = search.calibrate([Question(vector=vector) for vector in vectors], method="standardized")
    known.save(out / "calibration.json")
    outcome = run("calibrate", out, "--images", asked)
    assert outcome.code == 0, outcome.err
    assert "the scale of questions in words stays as it is" in outcome.err
    assert "(standardized, as for the questions)" in outcome.out
    outcome = run("calibrate", out, "--images", asked, "--method", "chance")
    assert [scale.method for scale in scales(out).values()] == ["standardized", "chance"]
    assert "questions (standardized, kept)" in outcome.out
    # Nor does it go when the scale of pictures is brought up to date.
    (tmp_path / "folder" / "new.txt").write_text("a new dog")
    outcome = run("index", tmp_path / "folder", "--out", out)
    assert "brought up to date" in outcome.err
    assert "the scale of questions in words stays as it is" in outcome.err
    kept = scales(out)
    assert [scale.method for scale in kept.values()] == ["standardized", "chance"]
    for modality, entry in known.modalities.items():
        assert kept["text"].statistics(modality) == entry.statistics


def test_both_kinds_at_once(run: Command, out: Path, asked: Path, questions: Path) -> None:
    outcome = run("calibrate", out, "--questions", questions, "--images", asked)
    assert outcome.code == 0, outcome.err
    assert "3 questions (" in outcome.out
    assert f"{len(COLORS) + 1} pictures (" in outcome.out
    for arguments in (["a red dog"], ["--image", asked / "red.PNG"]):
        assert len(run.hits(out, *arguments)) == 10 or len(run.hits(out, *arguments)) == len(FaissIndex.open(out))


def test_shards_are_calibrated_with_pictures_too(
    run: Command, clip: Path, asked: Path, questions: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    folder = write_folder(tmp_path / "folder")
    assert run("embed", folder, "--encoder", clip, "--out", tmp_path / "shards").code == 0
    assert run("calibrate", tmp_path / "shards", "--images", asked, "--method", "standardized").code == 0
    pictures = Calibration.load(tmp_path / "shards" / "calibration.json").image_questions
    assert run("calibrate", tmp_path / "shards", "--questions", questions, "--method", "standardized").code == 0
    both = Calibration.load(tmp_path / "shards" / "calibration.json")
    assert pictures is not None
    assert both.image_questions is not None
    assert both.image_questions.modalities == pictures.modalities
    assert set(both.modalities) == {"text", "image"}
    outcome = run("calibrate", tmp_path / "shards", "--questions", questions)
    assert "questions (standardized, as for the pictures)" in outcome.out
    assert "pictures (standardized, kept)" in outcome.out
    outcome = run("calibrate", tmp_path / "shards", "--questions", questions, "--method", "auto")
    assert "questions (auto: standardized, since similarities of text spread by 0." in outcome.out
    outcome = run("calibrate", tmp_path / "shards", "--questions", questions, "--method", "chance")
    assert "questions (chance)" in outcome.out
    assert "pictures (standardized, kept)" in outcome.out
    assert [scale.method for scale in scales(tmp_path / "shards").values()] == ["chance", "standardized"]


def test_pictures_that_cannot_be_read_are_named_and_left_out(run: Command, out: Path, asked: Path) -> None:
    (asked / "broken.png").write_bytes(b"no picture")
    outcome = run("calibrate", out, "--images", asked, "--method", "standardized")
    assert outcome.code == 0
    assert "1 of 14 pictures cannot be read" in outcome.err
    assert "broken.png" in outcome.err
    written = Calibration.load(out / "calibration.json").image_questions
    assert written is not None
    assert written.questions == 13
    outcome = run("calibrate", out, "--images", asked / "broken.png")
    assert (outcome.code, "1 of 1 pictures cannot be read" in outcome.err) == (1, True)
    outcome = run("search", out, "--image", asked / "broken.png")
    assert (outcome.code, "Traceback" in outcome.err, "broken.png" in outcome.err) == (1, False, True)


def test_usage(run: Command, out: Path, asked: Path, questions: Path, tmp_path: Path) -> None:
    for arguments in (
        ["search", out],
        ["search", out, "a dog", "--image", asked / "red.PNG"],
        ["search", out, "--questions", questions, "--image", asked / "red.PNG"],
        ["search", out, "--image", tmp_path / "nowhere.png"],
        ["search", out, "--image", asked],
        ["calibrate", out],
        ["calibrate", out, "--images", tmp_path / "nowhere"],
    ):
        assert run(*arguments).code == 2, arguments


def test_folders_and_lists_of_pictures(asked: Path, tmp_path: Path) -> None:
    found = read_pictures(asked)
    assert [path.relative_to(asked).as_posix() for path in found] == [
        *(f"deep/{color}.png" for color in sorted(COLORS)),
        "red.PNG",
    ]
    assert read_pictures(asked / "red.PNG") == [asked / "red.PNG"]
    listed = tmp_path / "list.txt"
    listed.write_text(f"\ufeffasked/red.PNG\n\n{asked / 'deep' / 'pink.png'}\n", encoding="utf-8")
    assert read_pictures(listed) == [asked / "red.PNG", asked / "deep" / "pink.png"]
    listed.write_text("\n")
    with pytest.raises(InvalidInputError, match="holds no path"):
        read_pictures(listed)
    listed.write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(FileFormatError, match="not UTF-8"):
        read_pictures(listed)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no picture"):
        read_pictures(tmp_path / "empty")
