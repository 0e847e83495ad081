"""``commonscale embed``, and ``index`` and ``calibrate`` on what it writes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
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
pytest.importorskip("pyarrow")

from cli_world import Command, write_folder
from commonscale import Calibration
from commonscale.embedding import open_shards
from commonscale.index import FaissIndex
from demo_folder import ENCODER, write_questions, write_world
from tiny_models import save_tiny_clip

PICTURES = 320  # sixteen parts, of which one is written when the signal comes


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "folder")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def documents(index: Path) -> dict[str, tuple[object, ...]]:
    opened = FaissIndex.open(index)
    return {doc.id: (doc.modality, doc.text, doc.path, dict(doc.metadata)) for doc in opened.documents()}


def test_shards_become_the_index_that_the_folder_itself_gives(
    run: Command, folder: Path, shards: Path, clip: Path, tmp_path: Path
) -> None:
    outcome = run("embed", folder, "--out", shards, "--encoder", clip, "--partition-size", 2, "--batch-size", 2)
    assert outcome.code == 0, outcome.err
    assert "Parts: " in outcome.err
    assert f"{shards} now holds " in outcome.err
    assert run("index", folder, "--out", tmp_path / "direct", "--encoder", clip).code == 0
    outcome = run("index", shards, "--out", tmp_path / "loaded")
    assert outcome.code == 0, outcome.err
    direct, loaded = FaissIndex.open(tmp_path / "direct"), FaissIndex.open(tmp_path / "loaded")
    assert documents(tmp_path / "loaded") == documents(tmp_path / "direct")
    assert loaded.encoder_fingerprint == direct.encoder_fingerprint
    ids = sorted(documents(tmp_path / "direct"))
    assert np.abs(direct.vectors(ids) - loaded.vectors(ids)).max() < 1e-6
    # The encoder is recorded: a search needs no name.
    mine = run.hits(tmp_path / "loaded", "a red dog", "--raw", "-k", 4)
    theirs = run.hits(tmp_path / "direct", "a red dog", "--raw", "-k", 4)
    assert [hit["id"] for hit in mine] == [hit["id"] for hit in theirs]


def test_an_index_follows_its_shards(run: Command, folder: Path, shards: Path, clip: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    embed = ("embed", folder, "--out", shards, "--encoder", clip, "--partition-size", 2)
    run(*embed)
    run("index", shards, "--out", index)
    held = len(documents(index))
    assert f"Documents: 0 added, 0 changed, 0 removed, {held} unchanged." in run("index", shards, "--out", index).err
    (folder / "new.txt").write_text("two cats")
    (folder / "short.txt").write_text("a blue cat")
    (folder / "red.png").unlink()
    assert run(*embed).code == 0
    assert (
        f"Documents: 1 added, 1 changed, 1 removed, {held - 2} unchanged." in run("index", shards, "--out", index).err
    )
    assert documents(index)["short.txt"][1] == "a blue cat"
    assert "red.png" not in documents(index)


def test_bad_items_are_listed_and_the_code_is_3(run: Command, folder: Path, shards: Path, clip: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "notes.pdf").write_text("x")
    outcome = run("embed", folder, "--out", shards, "--encoder", clip)
    assert outcome.code == 3
    assert "Not embedded (1):" in outcome.err
    assert "bad.png: not a picture" in outcome.err
    assert "passed over: 1 (.pdf 1)" in outcome.err
    again = run("embed", folder, "--out", shards, "--encoder", clip)
    assert again.code == 3
    assert "Parts: 0 written" in again.err
    assert "--retry-failed to try these again" in again.err
    outcome = run("embed", folder, "--out", shards, "--encoder", clip, "--retry-failed")
    assert outcome.code == 3
    assert "Parts: 1 written" in outcome.err
    outcome = run("index", shards, "--out", shards.with_name("index"))
    assert outcome.code == 0
    assert "1 items could not be embedded" in outcome.err


def test_errors_name_both_sides(run: Command, folder: Path, shards: Path, clip: Path, tmp_path: Path) -> None:
    run("embed", folder, "--out", shards, "--encoder", clip)
    other = save_tiny_clip(tmp_path / "other", seed=1)
    outcome = run("embed", folder, "--out", shards, "--encoder", other)
    assert outcome.code == 1
    assert str(clip) in outcome.err.replace("\n", "")
    assert str(other) in outcome.err.replace("\n", "")
    assert "another one" in run("index", shards, "--out", tmp_path / "i", "--encoder", other).err
    questions = write_questions(tmp_path / "questions.txt")
    assert "another one" in run("calibrate", shards, "--questions", questions, "--encoder", other).err
    assert not (shards / "calibration.json").exists()
    run("index", folder, "--out", tmp_path / "index", "--encoder", clip)
    assert "is the index of" in run("index", shards, "--out", tmp_path / "index").err
    next(shards.glob("part-*")).unlink()
    assert "not finished" in run("index", shards, "--out", tmp_path / "new").err
    assert "not finished" in run("calibrate", shards, "--questions", questions).err


def test_the_cache_saves_another_run_from_embedding(run: Command, folder: Path, shards: Path, clip: Path) -> None:
    cache = shards.with_name("cache")
    first = run("embed", folder, "--out", shards, "--encoder", clip, "--cache", cache)
    assert first.code == 0, first.err
    assert any(cache.iterdir())
    moved = shards.with_name("again")
    assert run("embed", folder, "--out", moved, "--encoder", clip, "--cache", cache).code == 0
    one, two = (list(open_shards(place).batches()) for place in (shards, moved))
    assert [part.vectors.tobytes() for part in one] == [part.vectors.tobytes() for part in two]


def test_parquet_columns_are_named(run: Command, shards: Path, clip: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"key": [5, 6], "words": ["a dog", "a cat"], "n": [1, 2]}), tmp_path / "x.parquet")
    named = ("--text-column", "words", "--id-column", "key")
    assert run("embed", tmp_path / "x.parquet", "--out", shards, "--encoder", clip, *named).code == 0
    (part,) = open_shards(shards).batches()
    assert (list(part.ids), list(part.texts), part.metadata) == (["5", "6"], ["a dog", "a cat"], [{"n": 1}, {"n": 2}])


def test_ids_that_come_twice_are_refused_everywhere(run: Command, shards: Path, clip: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"id": ["a", "a"], "text": ["a dog", "a cat"]}), tmp_path / "x.parquet")
    done = run("embed", tmp_path / "x.parquet", "--out", shards, "--encoder", clip)
    assert done.code == 1
    assert "the id 'a' of the column 'id' comes twice, in x.parquet:0 and in x.parquet:1" in done.err
    picture = next(write_world(tmp_path / "world").rglob("*.png")).read_bytes()
    columns = {"id": ["a", "a#text"], "text": ["a dog", "a cat"], "image": [picture, None]}
    parquet.write_table(pa.table(columns), tmp_path / "y.parquet")
    assert run("embed", tmp_path / "y.parquet", "--out", shards, "--encoder", clip, "--partition-size", 1).code == 0
    assert "the id 'a#text' comes twice" in run("index", shards, "--out", tmp_path / "index").err
    assert not (tmp_path / "index").exists()
    questions = write_questions(tmp_path / "questions.txt")
    assert "the id 'a#text' comes twice" in run("calibrate", shards, "--questions", questions).err


def test_calibration_of_shards_equals_that_of_an_index(run: Command, shards: Path, tmp_path: Path) -> None:
    world, questions = write_world(tmp_path / "world"), write_questions(tmp_path / "questions.txt")
    index, loaded = tmp_path / "index", tmp_path / "loaded"
    assert run("index", world, "--out", index, "--encoder", ENCODER).code == 0
    assert run("embed", world, "--out", shards, "--encoder", ENCODER, "--partition-size", 50).code == 0
    assert run("index", shards, "--out", loaded).code == 0
    for place in (index, shards, loaded):
        outcome = run("calibrate", place, "--questions", questions)
        assert outcome.code == 0, outcome.err
        assert "Best hits for 300 questions" in outcome.out
    expected = Calibration.load(index / "calibration.json")
    for place in (shards, loaded):
        found = Calibration.load(place / "calibration.json")
        assert sorted(found.modalities) == ["image", "text"]
        for modality, entry in expected.modalities.items():
            mine = found.modalities[modality]
            assert mine.provenance == entry.provenance
            assert mine.statistics.mean == pytest.approx(entry.statistics.mean, abs=1e-6)
            assert mine.statistics.std == pytest.approx(entry.statistics.std, abs=1e-6)
    assert run("search", loaded, "a red dog on grass").code == 0
    # A calibration of shards serves an index of them, and the other way round.
    shutil.copy(shards / "calibration.json", loaded / "calibration.json")
    assert json.loads(run("search", loaded, "a red circle", "--json").out)["ranked_by"] == "score"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows delivers no SIGINT to a single child process")
def test_ctrl_c_keeps_parts_and_the_next_run_goes_on(run: Command, clip: Path, shards: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    # Large noisy pictures: decoding a part takes long enough for a signal to arrive before the next.
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "0.jpg")
    data = (folder / "0.jpg").read_bytes()
    for number in range(1, PICTURES):
        (folder / f"{number}.jpg").write_bytes(data)
    arguments = ["embed", folder, "--encoder", clip, "--out", shards, "--partition-size", "20", "--batch-size", "2"]
    command = [sys.executable, "-m", "commonscale.cli", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        told = b""
        while not (re.search(rb" [1-9][0-9]*/320 ", told) and list(shards.glob("part-*"))):
            told += process.stderr.read(1)
            assert process.poll() is None, told
        process.send_signal(signal.SIGINT)
        told += process.stderr.read()
    assert process.returncode == 130, told
    assert b"Run the same command again" in told
    assert b"Traceback" not in told
    partial = open_shards(shards, partial=True)
    assert partial.missing
    done = len(partial.manifest.parts) - len(partial.missing)
    assert done > 0
    outcome = run(*arguments)
    assert outcome.code == 0
    assert f"Parts: {len(partial.missing)} written, {len(partial.manifest.parts)} in all" in outcome.err
    assert open_shards(shards).counts == {"image": PICTURES}
