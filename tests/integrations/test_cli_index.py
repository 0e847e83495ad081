"""``commonscale index``: folders as they are, updates, and what cannot be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("faiss")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("semantic_text_splitter")

from cli_world import LONG_TEXT, Command, picture, write_folder
from commonscale import load_encoder
from commonscale.cli import indexing
from commonscale.encoders import BatchedEncoder
from commonscale.index import FaissIndex
from tiny_models import CLIP_TOKENS, save_tiny_clip


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
def out(tmp_path: Path) -> Path:
    return tmp_path / "index"


def ids(out: Path) -> list[str]:
    return sorted(document.id for document in FaissIndex.open(out).documents())


PICTURES = ["deep/BLUE.JPG", "deep/er/grün 写.gif", "red.png"]


def test_a_folder_becomes_an_index(run: Command, folder: Path, clip: Path, out: Path) -> None:
    outcome = run("index", folder, "--encoder", clip, "--out", out)
    assert outcome.code == 0
    assert outcome.files == "Files: 5 added, 0 changed, 0 removed, 0 unchanged, 0 unreadable."
    index = FaissIndex.open(out)
    assert sorted(document.id for document in index.documents("image")) == PICTURES
    encoder = load_encoder(clip)
    assert index.encoder_fingerprint == encoder.fingerprint
    red = index.get("red.png")
    assert red is not None
    assert red.path == str(folder / "red.png")
    assert abs(index.vectors(["red.png"]) - encoder.encode_images([folder / "red.png"])).max() < 1e-6


def test_long_texts_become_passages_that_the_encoder_reads_whole(
    run: Command, folder: Path, clip: Path, out: Path
) -> None:
    (folder / "notes.md").write_text(f"# Title\n\n{LONG_TEXT}\n\n- a red dog\n- a blue cat\n")
    run("index", folder, "--encoder", clip, "--out", out)
    texts = FaissIndex.open(out).documents("text")
    encoder = load_encoder(clip)
    assert max(encoder.count_tokens([document.text for document in texts])) <= CLIP_TOKENS
    for name in ("long.txt", "notes.md"):
        passages = [document for document in texts if document.metadata["file"] == name]
        assert len(passages) > 1
        assert [document.id for document in passages] == [f"{name}#{n + 1}" for n in range(len(passages))]
        kept = "".join("".join(document.text for document in passages).split())
        assert kept == "".join((folder / name).read_text().split())
    assert FaissIndex.open(out).get("short.txt") is not None


def test_hidden_files_links_and_the_index_itself_are_passed_over(
    run: Command, folder: Path, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("a secret")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "notes.txt").write_text("hidden")
    (folder / "linked.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (folder / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    (folder / "deep" / "circle").symlink_to(folder, target_is_directory=True)
    (folder / "other.bin").write_bytes(b"\0")
    out = folder / "index"
    out.mkdir()
    (out / "notes.txt").write_text("beside the index")
    outcome = run("index", folder, "--encoder", clip, "--out", out)
    assert outcome.code == 0
    assert "Files: 5 added" in outcome.files
    assert "Symbolic links that were not followed: 3." in outcome.err
    assert "Files of other types that were passed over: 1 (.bin 1)." in outcome.err


BAD = {
    "empty.png": (b"", None),
    "cut.jpg": (picture("red", 200, "JPEG")[:400], None),
    "fake.gif": (b"GIF89a, not really", None),
    "latin.txt": ("caf\u00e9".encode("latin-1"), "not UTF-8: "),
    "blank.txt": (b" \n\t\n", "no text in it"),
    "binary.md": (b"text\0more", "it contains null characters"),
    "half.txt": ("\ufeffcaf\u00e9".encode("utf-16-le")[:-1], "not UTF-16: truncated data"),
}


def test_unreadable_files_are_listed_with_reasons_and_the_rest_is_indexed(
    run: Command, folder: Path, clip: Path, out: Path
) -> None:
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    for outcome, added in (
        (run("index", folder, "--encoder", clip, "--out", out), 5),
        (run("index", folder, "--out", out), 0),
    ):
        assert outcome.code == 3
        assert outcome.files.startswith(f"Files: {added} added, ")
        assert outcome.files.endswith(f"{len(BAD)} unreadable.")
        listed = outcome.err.partition(f"Unreadable files ({len(BAD)}):\n")[2].splitlines()
        assert [line.split(":")[0].strip() for line in listed] == sorted(BAD)
        for line, name in zip(listed, sorted(BAD), strict=True):
            assert len(line) > len(name) + 10
            assert (BAD[name][1] or "") in line
    assert not set(ids(out)) & set(BAD)
    assert len(FaissIndex.open(out).documents("image")) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_encodings_that_say_what_they_are(
    run: Command, folder: Path, clip: Path, out: Path, encoding: str
) -> None:
    (folder / "umlaut.txt").write_text("ein grüner Hund", encoding=encoding)
    run("index", folder, "--encoder", clip, "--out", out)
    document = FaissIndex.open(out).get("umlaut.txt")
    assert document is not None
    assert document.text == "ein grüner Hund"


def test_running_again_embeds_only_what_is_new_or_changed(
    run: Command, folder: Path, clip: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("index", folder, "--encoder", clip, "--out", out)
    before = FaissIndex.open(out)
    embedded: list[str] = []
    encode_texts, encode_images = BatchedEncoder.encode_texts, BatchedEncoder.encode_images_reporting

    def texts(self: BatchedEncoder, given: list[str]) -> object:
        embedded.extend(given)
        return encode_texts(self, given)

    def images(self: BatchedEncoder, given: list[Path]) -> object:
        embedded.extend(path.name for path in given)
        return encode_images(self, given)

    monkeypatch.setattr(BatchedEncoder, "encode_texts", texts)
    monkeypatch.setattr(BatchedEncoder, "encode_images_reporting", images)
    assert run("index", folder, "--out", out).files == (
        "Files: 0 added, 0 changed, 0 removed, 5 unchanged, 0 unreadable."
    )
    assert embedded == []

    (folder / "new.txt").write_text("two cats")
    (folder / "red.png").write_bytes(picture("yellow"))
    (folder / "long.txt").write_text("now short")
    (folder / "deep" / "BLUE.JPG").unlink()
    os.utime(folder / "short.txt", (1, 1))
    assert run("index", folder, "--out", out).files == (
        "Files: 1 added, 2 changed, 1 removed, 2 unchanged, 0 unreadable."
    )
    assert sorted(embedded) == ["now short", "red.png", "two cats"]
    after = FaissIndex.open(out)
    assert ids(out) == ["deep/er/grün 写.gif", "long.txt", "new.txt", "red.png", "short.txt"]
    assert (after.vectors(["short.txt"]) == before.vectors(["short.txt"])).all()
    short = after.get("short.txt")
    assert short is not None
    assert short.metadata["mtime_ns"] == 1_000_000_000
    # The new time is recorded, so the next run need not read the file.
    (folder / "long.txt").write_text(LONG_TEXT)
    assert "1 changed" in run("index", folder, "--out", out).files
    assert "long.txt#2" in ids(out)
    assert "long.txt" not in ids(out)


def test_a_file_that_went_bad_leaves_the_index_and_one_that_cannot_be_opened_stays(
    run: Command, folder: Path, clip: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("index", folder, "--encoder", clip, "--out", out)
    (folder / "red.png").write_bytes(b"no longer a picture")
    (folder / "short.txt").write_bytes(b"\xff\xfe\xfd")
    (folder / "long.txt").write_text("changed, but the disk fails")
    read_bytes, scandir = Path.read_bytes, os.scandir

    def failing(self: Path) -> bytes:
        if self.name == "long.txt":
            raise OSError(5, "Input/output error")
        return read_bytes(self)

    def denied(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    monkeypatch.setattr(os, "scandir", denied)
    outcome = run("index", folder, "--out", out)
    assert outcome.code == 3
    assert outcome.files == "Files: 0 added, 0 changed, 0 removed, 0 unchanged, 4 unreadable."
    assert "deep: the folder cannot be listed: Permission denied" in outcome.err
    assert "long.txt: Input/output error" in outcome.err
    left = ids(out)
    assert {"red.png", "short.txt"}.isdisjoint(left)
    assert {"deep/BLUE.JPG", "deep/er/grün 写.gif", "long.txt#1"} <= set(left)


def test_another_encoder_is_refused_naming_both(
    run: Command, folder: Path, clip: Path, out: Path, tmp_path: Path
) -> None:
    run("index", folder, "--encoder", clip, "--out", out)
    before = ids(out)
    other = save_tiny_clip(tmp_path / "other", seed=1)
    (folder / "new.txt").write_text("new")
    outcome = run("index", folder, "--encoder", other, "--out", out)
    assert outcome.code == 1
    for named in (str(clip), load_encoder(clip).fingerprint, str(other), load_encoder(other).fingerprint):
        assert named in outcome.err
    assert "Traceback" not in outcome.err
    assert ids(out) == before


def test_an_encoder_that_moved_is_named_again(
    run: Command, folder: Path, clip: Path, out: Path, tmp_path: Path
) -> None:
    first = shutil.copytree(clip, tmp_path / "first")
    run("index", folder, "--encoder", first, "--out", out)
    second = shutil.move(first, tmp_path / "second")
    (folder / "new.txt").write_text("new")
    outcome = run("index", folder, "--out", out)
    assert outcome.code == 1
    assert f"{first}, which is no longer there; say where it is with --encoder PATH" in outcome.err
    assert "Files: 1 added" in run("index", folder, "--encoder", second, "--out", out).files
    (folder / "newer.txt").write_text("newer")
    assert "Files: 1 added" in run("index", folder, "--out", out).files


def test_a_folder_that_moved_is_recognized_and_another_one_refused(
    run: Command, folder: Path, clip: Path, out: Path, tmp_path: Path
) -> None:
    run("index", folder, "--encoder", clip, "--out", out)
    moved = Path(shutil.move(folder, tmp_path / "moved"))
    assert "Files: 0 added, 0 changed, 0 removed, 5 unchanged" in run("index", moved, "--out", out).files
    red = FaissIndex.open(out).get("red.png")
    assert red is not None
    assert red.path == str(moved / "red.png")
    another = write_folder(tmp_path / "another")
    outcome = run("index", another, "--out", out)
    assert outcome.code == 1
    assert f"is the index of {moved}, not of {another}" in outcome.err


def test_an_empty_folder_does_not_empty_the_index(
    run: Command, folder: Path, clip: Path, out: Path, tmp_path: Path
) -> None:
    run("index", folder, "--encoder", clip, "--out", out)
    shutil.rmtree(folder)
    folder.mkdir()
    for name in ("a.heic", "b.HEIC", "c.pdf"):
        (folder / name).write_bytes(b"?")
    outcome = run("index", folder, "--out", out)
    assert outcome.code == 1
    assert "holds no pictures and no texts" in outcome.err
    assert "files of other types: 3 (.heic 2, .pdf 1)" in outcome.err
    assert len(ids(out)) > 5


def test_wrong_usage(run: Command, folder: Path, clip: Path, out: Path, tmp_path: Path) -> None:
    outcome = run("index", folder, "--out", out)
    assert outcome.code == 1
    assert "a new index needs an encoder; name it with --encoder" in outcome.err
    assert run("index", tmp_path / "nowhere", "--encoder", clip, "--out", out).code == 2
    assert run("index", folder, "--encoder", clip).code == 2
    outcome = run("index", folder, "--encoder", tmp_path / "no-model", "--out", out)
    assert outcome.code == 1
    assert "no-model" in outcome.err
    assert not out.exists()


def test_a_damaged_index_is_one_message(run: Command, folder: Path, clip: Path, out: Path) -> None:
    run("index", folder, "--encoder", clip, "--out", out)
    (path,) = out.glob("vectors-*-image.faiss")
    path.write_bytes(path.read_bytes()[:-1])
    outcome = run("index", folder, "--out", out)
    assert outcome.code == 1
    assert f"error: {path}: has " in outcome.err
    assert "Traceback" not in outcome.err


def test_two_runs_at_once_are_refused(run: Command, folder: Path, clip: Path, out: Path) -> None:
    run("index", folder, "--encoder", clip, "--out", out)
    index = FaissIndex.open(out)
    with index.exclusive():
        outcome = run("index", folder, "--out", out)
    assert outcome.code == 1
    assert "another process is writing to this index" in outcome.err


def test_an_error_in_the_middle_keeps_what_was_done(
    run: Command, folder: Path, clip: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commonscale.core.errors import EncoderError

    def broken(self: BatchedEncoder, given: list[str]) -> object:
        raise EncoderError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(BatchedEncoder, "encode_texts", broken)
        outcome = run("index", folder, "--encoder", clip, "--out", out)
    assert (outcome.code, "error: out of memory" in outcome.err) == (1, True)
    assert ids(out) == PICTURES
    assert "Files: 2 added, 0 changed, 0 removed, 3 unchanged" in run("index", folder, "--out", out).files


def test_long_runs_save_on_the_way(
    run: Command, folder: Path, clip: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(indexing, "SAVE_SHARE", float("inf"))
    seen: list[int] = []
    encode_texts = BatchedEncoder.encode_texts

    def texts(self: BatchedEncoder, given: list[str]) -> object:
        seen.append(len(FaissIndex.open(out)))
        return encode_texts(self, given)

    monkeypatch.setattr(BatchedEncoder, "encode_texts", texts)
    run("index", folder, "--encoder", clip, "--out", out)
    assert seen == [3]
