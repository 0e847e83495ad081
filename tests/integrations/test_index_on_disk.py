"""The index's folder: atomic saves, damage that is named, several writers, mapping."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faiss")

from commonscale import Question
from commonscale.core.errors import FileFormatError, IndexConflictError, InvalidInputError
from commonscale.index import Document, FaissIndex, storage
from commonscale.index.manifest import FileRecord
from sources import unit_rows

DIMENSION = 8
KINDS = ("text", "image")


def add(index: FaissIndex, modality: str, ids: list[str], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    index.add([Document(key, modality, text=f"text of {key}") for key in ids], unit_rows(rng, len(ids), DIMENSION))


def saved(folder: Path, count: int = 4) -> FaissIndex:
    index = FaissIndex.create(folder, DIMENSION, encoder_fingerprint="encoder-a")
    add(index, "text", [f"t{i}" for i in range(count)], seed=1)
    add(index, "image", [f"i{i}" for i in range(count)], seed=2)
    index.save()
    return index


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {storage.LOCK}


def content(index: FaissIndex) -> tuple[list[Document], list[list[float]]]:
    documents = index.documents()
    return documents, index.vectors([document.id for document in documents]).tolist()


def test_reopening_gives_the_same_documents_vectors_and_ranking(tmp_path: Path) -> None:
    index = saved(tmp_path)
    reopened = FaissIndex.open(tmp_path)
    assert content(reopened) == content(index)
    assert reopened.modalities == ["text", "image"]
    assert reopened.provenance() == index.provenance()
    question = Question(vector=unit_rows(np.random.default_rng(3), 1, DIMENSION)[0])
    (before,), (after,) = index.search([question], "text", 9), reopened.search([question], "text", 9)
    assert (before.ids, before.cosines.tolist()) == (after.ids, after.cosines.tolist())


def test_any_text_is_an_id_and_any_label_a_modality(tmp_path: Path) -> None:
    ids = ["übung/ß.txt#1", "写真.jpg", "a\nb", "\u2028", " ", "nul\0", "undecodable\udcff", "e\u0301", "\u00e9"]
    index = FaissIndex.create(tmp_path, DIMENSION)
    for modality in ("text", "Text", "写真", "../up", "a/b", "a.b", "x" * 300):
        add(index, modality, [f"{modality}:{key}" for key in ids])
    index.save()
    assert content(FaissIndex.open(tmp_path)) == content(index)
    assert files(tmp_path).isdisjoint({"up"})


def test_a_save_writes_only_what_changed_and_leaves_no_old_files(tmp_path: Path) -> None:
    index = saved(tmp_path)
    first = files(tmp_path)
    assert len(first) == 4
    index.save()
    assert files(tmp_path) == first
    add(index, "text", ["new"])
    index.save()
    second = files(tmp_path)
    assert len(second) == 4
    assert {name for name in second & first if name.endswith("-image.faiss")}
    assert not {name for name in second & first if name.endswith("-text.faiss")}
    index.delete([document.id for document in index.documents("image")])
    index.save()
    assert len(files(tmp_path)) == 3
    assert FaissIndex.open(tmp_path).modalities == ["text"]


def test_saving_leaves_other_files_of_the_folder_alone(tmp_path: Path) -> None:
    others = {"calibration.json", "documents-mine.jsonl", "vectors.faiss", "notes.txt"}
    # Just what the numbering of the saves suggests.
    others |= {f"documents-{number:06d}.jsonl" for number in range(4)}
    others |= {f"vectors-{number:06d}-{at}-{kind}.faiss" for number in range(4) for at in (0, 1) for kind in KINDS}
    others |= {".documents-000001.jsonl.tmp", f".calibration.json.{'0' * 32}.tmp"}
    for name in others:
        (tmp_path / name).write_text("mine")
    index = saved(tmp_path)
    for key in ("new", "newer"):
        add(index, "text", [key])
        index.save()
    assert len(files(tmp_path) - others) == 4
    assert {(tmp_path / name).read_text() for name in others} == {"mine"}


def test_files_under_the_names_of_older_versions_are_replaced_too(tmp_path: Path) -> None:
    """A file belongs to the index because its manifest names it, whatever the name."""
    saved(tmp_path)
    path = tmp_path / "index.json"
    text = path.read_text()
    for number, old in enumerate(sorted(files(tmp_path) - {"index.json"})):
        (tmp_path / old).rename(tmp_path / f"old-{number}")
        text = text.replace(f'"{old}"', f'"old-{number}"')
    path.write_text(text)
    index = FaissIndex.open(tmp_path)
    for modality in KINDS:
        add(index, modality, ["new " + modality])
    index.save()
    assert not [name for name in files(tmp_path) if name.startswith("old-")]
    assert content(FaissIndex.open(tmp_path)) == content(index)


def test_a_modality_that_was_emptied_is_saved_once(tmp_path: Path) -> None:
    index = saved(tmp_path)
    index.delete([document.id for document in index.documents("image")])
    index.save()
    before = (tmp_path / "index.json").read_text()
    index.save()
    assert (tmp_path / "index.json").read_text() == before
    add(index, "image", ["back"])
    index.save()
    assert content(FaissIndex.open(tmp_path)) == content(index)


@pytest.mark.parametrize("crash_at", range(1, 8))
def test_a_crash_at_any_file_operation_leaves_the_old_index_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    index = saved(tmp_path)
    before = content(index)
    add(index, "text", ["new"])
    add(index, "image", ["newer"])
    steps = iter(range(1, 100))

    def crash_before(step: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **named: object) -> object:
            if next(steps) == crash_at:
                raise KeyboardInterrupt
            return step(*arguments, **named)

        return wrapped

    with monkeypatch.context() as patched:
        # Every fsync and every move into place: three data files and the manifest make eight.
        patched.setattr(os, "fsync", crash_before(os.fsync))
        patched.setattr(Path, "replace", crash_before(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            index.save()
    assert content(FaissIndex.open(tmp_path)) == before
    index.save()
    assert content(FaissIndex.open(tmp_path)) == content(index)
    assert len(files(tmp_path)) == 4


def test_what_a_killed_process_left_behind_is_removed_by_the_next_save(tmp_path: Path) -> None:
    index = saved(tmp_path)
    left = ["vectors-000002-0123456789ab-0-text.faiss", "documents-000002-0123456789ab.jsonl"]
    left += [f".{name}.{'0' * 32}.tmp" for name in (*left, "index.json")]
    for name in left:
        (tmp_path / name).write_bytes(b"half written")
    assert content(FaissIndex.open(tmp_path)) == content(index)
    add(index, "image", ["new"])
    index.save()
    assert len(files(tmp_path)) == 4
    assert content(FaissIndex.open(tmp_path)) == content(index)


def named(folder: Path, ending: str) -> Path:
    (path,) = (path for path in folder.iterdir() if path.name.endswith(ending))
    return path


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("ending", ["-text.faiss", "-image.faiss", ".jsonl", "index.json"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "changed", "longer", "removed"])
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, ending: str, damage: str, mmap: bool) -> None:
    saved(tmp_path)
    path = named(tmp_path, ending)
    data = path.read_bytes()
    middle = len(data) // 2
    changed = {
        "truncated": data[:-4],
        "emptied": b"",
        "changed": data[:middle] + bytes([data[middle] ^ 0x80]) + data[middle + 1 :],
        "longer": data + b"\0",
    }
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    expected = FileNotFoundError if (ending, damage) == ("index.json", "removed") else FileFormatError
    with pytest.raises(expected, match=ending) as caught:
        FaissIndex.open(tmp_path, mmap=mmap)
    if expected is FileFormatError:
        assert "build" in str(caught.value)


@pytest.mark.parametrize("mmap", [False, True])
def test_swapped_files_are_errors(tmp_path: Path, mmap: bool) -> None:
    saved(tmp_path / "a")
    text, image = named(tmp_path / "a", "-text.faiss"), named(tmp_path / "a", "-image.faiss")
    assert text.stat().st_size == image.stat().st_size
    data = text.read_bytes()
    shutil.copy(image, text)
    image.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"text\.faiss: .*another modality or generation"):
        FaissIndex.open(tmp_path / "a", mmap=mmap)


def test_a_file_of_another_generation_is_an_error(tmp_path: Path) -> None:
    index = saved(tmp_path)
    old = named(tmp_path, "-text.faiss").read_bytes()
    add(index, "text", ["t0"], seed=9)
    index.save()
    path = named(tmp_path, "-text.faiss")
    assert len(old) == path.stat().st_size
    path.write_bytes(old)
    with pytest.raises(FileFormatError, match="another modality or generation"):
        FaissIndex.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2, this commonscale reads version 1"),
        ({"format": "something"}, "not an index"),
        ({"dimension": "8"}, "wrong type"),
        ({"generation": 0}, "at least 1"),
        ({"vectors": []}, "damaged index"),
        ({"later": 1}, "unknown fields"),
        ({"dimension": 16}, "of dimension 8, expected"),
        ({"dimension": 10**400}, "larger than any"),
        ({"generation": 10**400}, "larger than any"),
    ],
    ids=["newer", "foreign", "type", "generation", "list", "unknown", "dimension", "huge dimension", "huge generation"],
)
def test_a_manifest_that_cannot_be_used_is_an_error(tmp_path: Path, change: dict[str, object], message: str) -> None:
    saved(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FileFormatError, match=message):
        FaissIndex.open(tmp_path)


@pytest.mark.parametrize("content", ["[" * 200_000, '{"notes": ' + '{"a": ' * 100_000], ids=["lists", "objects"])
def test_a_manifest_nested_too_deep_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(FileFormatError, match="no valid JSON"):
        FaissIndex.open(tmp_path)


def test_a_document_nested_too_deep_is_an_error(tmp_path: Path) -> None:
    saved(tmp_path)
    path = named(tmp_path, ".jsonl")
    path.write_text("[" * 200_000 + "\n")
    manifest = json.loads((tmp_path / "index.json").read_text())
    manifest["documents"] = asdict(FileRecord.of(path, 8))
    (tmp_path / "index.json").write_text(json.dumps(manifest))
    with pytest.raises(FileFormatError, match="line 1 is no document"):
        FaissIndex.open(tmp_path)


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "index.json"
    manifest = json.loads(path.read_text())
    manifest["documents"]["file"] = "../documents.jsonl"
    path.write_text(json.dumps(manifest))
    with pytest.raises(FileFormatError, match="not a file name in the index's own folder"):
        FaissIndex.open(tmp_path)


def test_creating_over_an_index_and_opening_nothing(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(InvalidInputError, match="holds an index already"):
        FaissIndex.create(tmp_path, DIMENSION)
    with pytest.raises(FileNotFoundError, match="no index here"):
        FaissIndex.open(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_the_second_of_two_writers_is_refused_and_nothing_saved_is_lost(tmp_path: Path) -> None:
    saved(tmp_path)
    first, second = FaissIndex.open(tmp_path), FaissIndex.open(tmp_path)
    add(first, "text", ["from first"])
    add(second, "text", ["from second"])
    first.save()
    with pytest.raises(IndexConflictError, match="holds generation 2 of the index, but generation 1 was opened"):
        second.save()
    assert content(FaissIndex.open(tmp_path)) == content(first)


def test_two_that_create_the_same_index(tmp_path: Path) -> None:
    first, second = FaissIndex.create(tmp_path, DIMENSION), FaissIndex.create(tmp_path, DIMENSION)
    add(first, "text", ["a"])
    first.save()
    with pytest.raises(IndexConflictError, match="generation 0 was opened"):
        second.save()


def test_a_folder_that_is_held_cannot_be_written_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = saved(tmp_path)
    other = FaissIndex.open(tmp_path)
    add(other, "text", ["new"])
    monkeypatch.setattr(storage, "WAIT", 0.0)
    with index.exclusive():
        with pytest.raises(IndexConflictError, match="another process is writing"):
            other.save()
        with pytest.raises(IndexConflictError, match="another process is writing"), other.exclusive():
            pytest.fail("two hold the folder")
        add(index, "text", ["mine"])
        index.save()
        assert "mine" in FaissIndex.open(tmp_path)
    with pytest.raises(IndexConflictError, match="holds generation 2"), other.exclusive():
        pytest.fail("an index that is not current holds the folder")


def test_a_reader_that_meets_a_save_reads_the_newer_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = saved(tmp_path)
    read_manifest = storage.read_manifest
    calls: list[int] = []

    def saved_meanwhile(folder: Path) -> object:
        manifest = read_manifest(folder)
        calls.append(manifest.generation)
        if len(calls) == 1:
            monkeypatch.setattr(storage, "read_manifest", read_manifest)
            add(index, "text", ["new"])
            index.save()
        return manifest

    monkeypatch.setattr(storage, "read_manifest", saved_meanwhile)
    assert "new" in FaissIndex.open(tmp_path)
    assert calls == [1]


def test_a_full_disk_is_an_error_and_the_old_index_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    index = saved(tmp_path)
    before = content(index)
    add(index, "text", ["new"])

    def full(*_: object) -> None:
        raise RuntimeError("write error in test: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(faiss, "write_index", full)
        with pytest.raises(OSError, match="No space left"):
            index.save()
    assert content(FaissIndex.open(tmp_path)) == before
    index.save()
    assert "new" in FaissIndex.open(tmp_path)


def test_a_mapped_index_searches_the_same_and_cannot_be_changed(tmp_path: Path) -> None:
    index = saved(tmp_path, count=500)
    mapped = FaissIndex.open(tmp_path, mmap=True)
    assert content(mapped) == content(index)
    questions = [Question(vector=row) for row in unit_rows(np.random.default_rng(4), 30, DIMENSION)]
    for ours, theirs in zip(mapped.search(questions, "image", 7), index.search(questions, "image", 7), strict=True):
        assert (ours.ids, ours.cosines.tolist()) == (theirs.ids, theirs.cosines.tolist())
    changes: list[Callable[[], object]] = [
        lambda: add(mapped, "text", ["t0"]),
        lambda: mapped.delete(["t0"]),
        mapped.save,
        lambda: mapped.set_note("a", 1),
    ]
    for change in changes:
        with pytest.raises(InvalidInputError, match="opened with mmap=True, so it is read-only"):
            change()


def test_a_mapped_index_outlives_the_save_of_another(tmp_path: Path) -> None:
    index = saved(tmp_path, count=500)
    mapped = FaissIndex.open(tmp_path, mmap=True)
    before = content(mapped)
    index.delete([f"t{i}" for i in range(400)])
    index.save()
    assert content(mapped) == before
    assert len(FaissIndex.open(tmp_path)) == 600


def test_notes_are_saved_without_writing_the_vectors_again(tmp_path: Path) -> None:
    index = saved(tmp_path)
    before, identity = files(tmp_path), index.content_hash
    index.set_note("encoder", {"name": "a", "sizes": (1, 2)})
    index.save()
    reopened = FaissIndex.open(tmp_path)
    assert reopened.notes == {"encoder": {"name": "a", "sizes": [1, 2]}}
    assert (files(tmp_path), reopened.content_hash) == (before, identity)
    reopened.set_note("encoder", None)
    assert reopened.notes == {}
    with pytest.raises(InvalidInputError, match="'bad' cannot be written as JSON"):
        reopened.set_note("bad", object())


def test_the_content_hash_follows_the_vectors(tmp_path: Path) -> None:
    assert FaissIndex.create(tmp_path / "new", DIMENSION).content_hash is None
    index = saved(tmp_path / "index")
    first = index.content_hash
    assert FaissIndex.open(tmp_path / "index").content_hash == first
    add(index, "text", ["t0"], seed=9)
    index.save()
    assert index.content_hash not in (first, None)


def test_saves_while_documents_come_and_others_read(tmp_path: Path) -> None:
    index = saved(tmp_path)
    problems: list[str] = []
    finished = threading.Event()

    def read() -> None:
        while not finished.is_set():
            seen = len(FaissIndex.open(tmp_path))
            if (seen - 8) % 5:
                problems.append(f"{seen} documents")

    reader = threading.Thread(target=read)
    savers = [threading.Thread(target=index.save) for _ in range(5)]
    reader.start()
    for number, saver in enumerate(savers):
        add(index, "text", [f"{number}-{i}" for i in range(5)])
        saver.start()
    for saver in savers:
        saver.join()
    finished.set()
    reader.join()
    index.save()
    assert problems == []
    assert len(FaissIndex.open(tmp_path)) == 33
