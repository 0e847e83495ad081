"""Embedding a folder in one process: what is written, what is done again, what is refused."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("filelock")

from commonscale.core.errors import (
    EncoderError,
    EncoderMismatchError,
    FileFormatError,
    IndexConflictError,
    InvalidInputError,
    StorageError,
)
from commonscale.embedding import EmbedResult, embed_corpus, open_shards
from commonscale.embedding.output import OutputFolder
from embedding_world import everything, noting_encoder, unit, write_corpus

PICTURES, TEXTS = 23, 17


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", PICTURES, TEXTS)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def embed(folder: Path, out: Path, **settings: Any) -> tuple[EmbedResult, list[str]]:
    """Embed, and give what the encoder was shown."""
    seen: list[str] = []
    settings.setdefault("partition_size", 10)
    return embed_corpus(folder, out, noting_encoder(seen.extend), **settings), seen


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("part-*")}


def test_every_file_becomes_a_document_with_its_vector(folder: Path, out: Path) -> None:
    result, seen = embed(folder, out)
    assert result.complete
    assert (result.items, result.counts) == (PICTURES + TEXTS, {"image": PICTURES, "text": TEXTS})
    assert (result.failures, result.notes) == ((), ())
    assert sorted(seen) == sorted([f"picture {n}" for n in range(PICTURES)] + [f"text {n}" for n in range(TEXTS)])
    shards = open_shards(out)
    assert (shards.fingerprint, shards.dimension, shards.encoder_name) == ("noting-1", 8, None)
    assert len(shards) == PICTURES + TEXTS
    found = {row[0]: row for row in everything(shards)}
    identity, modality, text, path, metadata, vector = found["text-003.txt"]
    assert (identity, modality, text, path) == ("text-003.txt", "text", "text 3", str(folder / "text-003.txt"))
    assert (metadata["file"], metadata["passage"], metadata["passages"]) == ("text-003.txt", 1, 1)
    assert vector == unit("text 3").tobytes()
    identity, modality, text, path, metadata, vector = found["deep/picture-007.png"]
    assert (modality, text, path) == ("image", "", str(folder / "deep" / "picture-007.png"))
    assert metadata["size"] == (folder / "deep" / "picture-007.png").stat().st_size
    assert vector == unit("picture 7").tobytes()


def test_batches_are_small_and_of_one_modality_if_asked(folder: Path, out: Path) -> None:
    embed(folder, out)
    batches = list(open_shards(out).batches(size=3, modality="image"))
    assert max(len(batch) for batch in batches) == 3
    assert sum(len(batch) for batch in batches) == PICTURES
    assert {modality for batch in batches for modality in batch.modalities} == {"image"}
    assert all(np.allclose(np.linalg.norm(batch.vectors, axis=1), 1, atol=1e-6) for batch in batches)
    with pytest.raises(InvalidInputError, match="size must be an integer"):
        list(open_shards(out).batches(size=0))


def test_running_again_embeds_and_writes_nothing(folder: Path, out: Path) -> None:
    embed(folder, out)
    before = parts(out)
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    result, seen = embed(folder, out, partition_size=None)
    assert (result.complete, result.written, seen) == (True, 0, [])
    assert parts(out) == before
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")} == stamps


def test_only_what_is_new_or_changed_is_embedded(folder: Path, out: Path) -> None:
    embed(folder, out)
    (folder / "new.txt").write_text("text 500")
    (folder / "text-004.txt").write_text("text 400")
    (folder / "text-005.txt").unlink()
    os.utime(folder / "deep" / "picture-003.png", (1, 1))  # another time, the same content
    os.utime(folder / "text-006.txt", (1, 1))
    result, seen = embed(folder, out)
    assert sorted(seen) == ["text 400", "text 500"]
    assert result.complete
    assert result.counts == {"image": PICTURES, "text": TEXTS}
    found = {row[0]: row for row in everything(open_shards(out))}
    assert "text-005.txt" not in found
    assert found["text-004.txt"][-1] == unit("text 400").tobytes()
    assert found["deep/picture-003.png"][4]["mtime_ns"] == 1_000_000_000
    assert found["deep/picture-003.png"][-1] == unit("picture 3").tobytes()
    assert len(parts(out)) == result.parts


def test_a_folder_that_has_moved_keeps_its_vectors_and_gets_new_paths(folder: Path, out: Path, tmp_path: Path) -> None:
    embed(folder, out)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    result, seen = embed(moved, out)
    assert (seen, result.complete) == ([], True)
    assert {Path(row[3]).parts[: len(moved.parts)] for row in everything(open_shards(out))} == {moved.parts}


def test_bad_items_are_reported_and_stop_nothing(folder: Path, out: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "bad.txt").write_bytes(b"\xff\xff")
    (folder / "empty.txt").write_text("  \n")
    result, _ = embed(folder, out)
    reasons = {failure.id: failure.reason for failure in result.failures}
    assert set(reasons) == {"bad.png", "bad.txt", "empty.txt"}
    assert "not a picture" in reasons["bad.png"]
    assert "not UTF-8" in reasons["bad.txt"]
    assert reasons["empty.txt"] == "no text in it"
    assert result.counts == {"image": PICTURES, "text": TEXTS}
    again, seen = embed(folder, out)
    assert seen == []
    assert again.failures == result.failures == open_shards(out).failures
    (folder / "bad.txt").write_text("text 999")
    mended, seen = embed(folder, out)
    assert seen == ["text 999"]
    assert {failure.id for failure in mended.failures} == {"bad.png", "empty.txt"}


def test_what_a_disk_did_not_give_is_tried_again_and_nothing_else_embedded(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    expected, _ = embed(folder, out / "whole")
    opened = io.open

    def broken(file: Any, *arguments: Any, **named: Any) -> Any:
        if str(file).endswith(("picture-007.png", "text-003.txt")):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return opened(file, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", broken)
        patch.setattr("builtins.open", broken)
        first, _ = embed(folder, out / "broken")
        again, seen = embed(folder, out / "broken")
    lost = {failure.id: failure.transient for failure in first.failures}
    assert lost == {"deep/picture-007.png": True, "text-003.txt": True, "bad.png": False}
    assert set(again.failures) == set(first.failures)
    assert seen == []
    second, seen = embed(folder, out / "broken")
    assert sorted(seen) == ["picture 7", "text 3"]
    assert second.failures == expected.failures
    assert 0 < second.written <= 2
    assert parts(out / "broken") == parts(out / "whole")
    third, seen = embed(folder, out / "broken")
    assert (third.written, seen) == (0, [])


def test_all_that_failed_is_tried_again_if_asked(folder: Path, out: Path) -> None:
    def refusing(refused: set[str], seen: list[str]) -> Any:
        class Refusing:
            fingerprint, dimension = "noting-1", 8

            def encode_questions(self, questions: list[str]) -> Any:
                return noting_encoder().encode_questions(questions)

            def encode_texts(self, texts: list[str]) -> Any:
                if refused & set(texts):
                    raise InvalidInputError("refused")
                return noting_encoder(seen.extend).encode_texts(texts)

            def encode_images(self, images: list[Any]) -> Any:
                return noting_encoder(seen.extend).encode_images(images)

        return Refusing()

    first = embed_corpus(folder, out, refusing({"text 5", "text 6"}, []), partition_size=10)
    assert len(first.failures) == 2
    seen: list[str] = []
    assert embed_corpus(folder, out, refusing(set(), seen)).failures == first.failures
    assert seen == []
    second = embed_corpus(folder, out, refusing({"text 6"}, seen), retry_failed=True)
    assert (seen, [failure.id for failure in second.failures]) == (["text 5"], ["text-006.txt"])
    assert second.counts == {"image": PICTURES, "text": TEXTS - 1}


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names there are valid Unicode")
def test_a_name_that_is_no_unicode_is_a_failure(folder: Path, out: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("text 1000")
    result, _ = embed(folder, out)
    (failure,) = result.failures
    assert failure.id == "caf\\udce9.txt"
    assert "rename" in failure.reason


def test_an_encoder_that_embeds_all_or_none_is_asked_for_halves(folder: Path, out: Path) -> None:
    class Plain:
        """Only what the protocol asks."""

        fingerprint, dimension = "noting-1", 8

        def encode_questions(self, questions: list[str]) -> Any:
            return noting_encoder().encode_questions(questions)

        def encode_texts(self, texts: list[str]) -> Any:
            if "text 5" in texts:
                raise InvalidInputError("refused")
            return noting_encoder().encode_texts(texts)

        def encode_images(self, images: list[Any]) -> Any:
            return noting_encoder().encode_images(images)

    (folder / "bad.png").write_bytes(b"no picture")
    result = embed_corpus(folder, out, Plain(), partition_size=100)
    assert {failure.id for failure in result.failures} == {"bad.png", "text-005.txt"}
    found = {row[0]: row[-1] for row in everything(open_shards(out))}
    assert found["text-006.txt"] == unit("text 6").tobytes()
    assert found["deep/picture-022.png"] == unit("picture 22").tobytes()


def test_an_encoder_that_fails_ends_the_run_and_what_is_written_stays(folder: Path, out: Path) -> None:
    whole, _ = embed(folder, out / "whole")
    calls: list[int] = []

    def note(names: list[str]) -> None:
        calls.append(len(names))
        if len(calls) == 8:
            raise EncoderError("the service is gone")

    with pytest.raises(EncoderError, match="the service is gone"):
        embed_corpus(folder, out / "broken", noting_encoder(note), partition_size=10)
    written = len(parts(out / "broken"))
    assert 0 < written < whole.parts
    with pytest.raises(InvalidInputError, match=r"not finished: .* parts are missing.*run the same"):
        open_shards(out / "broken")
    assert len(open_shards(out / "broken", partial=True)) < PICTURES + TEXTS
    result, _ = embed(folder, out / "broken")
    assert (result.complete, result.written) == (True, whole.parts - written)
    assert everything(open_shards(out / "broken")) == everything(open_shards(out / "whole"))


def test_a_run_that_is_to_stop_ends_and_can_be_gone_on_with(folder: Path, out: Path) -> None:
    seen: list[str] = []
    first = embed_corpus(folder, out, noting_encoder(seen.extend), partition_size=10, stop=lambda: len(seen) > 15)
    assert not first.complete
    assert 0 < first.written < first.parts
    second, more = embed(folder, out)
    assert second.complete
    assert second.written == first.parts - first.written
    assert set(seen) | set(more) == {f"picture {n}" for n in range(PICTURES)} | {f"text {n}" for n in range(TEXTS)}


def test_another_encoder_or_corpus_is_refused(folder: Path, out: Path, tmp_path: Path) -> None:
    embed(folder, out)
    with pytest.raises(EncoderMismatchError, match=r"noting-1.*another one \(other-2\)"):
        embed_corpus(folder, out, noting_encoder(fingerprint="other-2"))
    other = write_corpus(tmp_path / "other", 1, 1)
    with pytest.raises(InvalidInputError, match=r"embeddings of .*corpus.*not of .*other"):
        embed(other, out)
    with pytest.raises(InvalidInputError, match="partitions of 10, not of 11"):
        embed(folder, out, partition_size=11)
    with pytest.raises(InvalidInputError, match="holds embeddings already"):
        embed(out, tmp_path / "new")
    with pytest.raises(InvalidInputError, match="no such file or folder"):
        embed(tmp_path / "nowhere", tmp_path / "new")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.pdf").write_text("x")
    with pytest.raises(InvalidInputError, match=r"no pictures, no texts.*\.pdf 1"):
        embed(tmp_path / "empty", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_arguments_are_checked(folder: Path, out: Path) -> None:
    with pytest.raises(InvalidInputError, match="partition_size must be an integer"):
        embed(folder, out, partition_size=0)
    with pytest.raises(InvalidInputError, match="need an encoder's name"):
        embed(folder, out, encoder_options={"device": "cpu"})
    with pytest.raises(InvalidInputError, match="workers must be"):
        embed(folder, out, workers=0)
    with pytest.raises(InvalidInputError, match="load an encoder of their own"):
        embed(folder, out, workers=2)
    with pytest.raises(InvalidInputError, match="must be an encoder"):
        embed_corpus(folder, out, 7)  # type: ignore[arg-type]


def test_two_runs_do_not_write_at_once_and_leftovers_are_removed(folder: Path, out: Path) -> None:
    with OutputFolder(out), pytest.raises(IndexConflictError, match="another run is embedding"):
        embed(folder, out)
    out.mkdir()
    leftover = out / f".part-00001-{'0' * 16}.parquet.{'a' * 32}.tmp"
    leftover.write_bytes(b"half")
    (out / "mine.txt").write_text("a file of somebody else's")
    embed(folder, out)
    assert not leftover.exists()
    assert (out / "mine.txt").exists()


def test_what_is_there_is_looked_at_once_the_folder_is_ours(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter = OutputFolder.__enter__

    def enter_second(self: OutputFolder) -> OutputFolder:
        """Enter just after another run, with another encoder, has left."""
        monkeypatch.setattr(OutputFolder, "__enter__", enter)
        embed_corpus(folder, out, noting_encoder(fingerprint="first"), partition_size=10)
        return enter(self)

    monkeypatch.setattr(OutputFolder, "__enter__", enter_second)
    with pytest.raises(EncoderMismatchError, match=r"\(first\).*another one \(noting-1\)"):
        embed(folder, out)
    assert open_shards(out).fingerprint == "first"


def test_a_folder_in_which_nothing_was_begun_is_left_as_it_was(tmp_path: Path, out: Path) -> None:
    out.mkdir()
    for place in (out, tmp_path / "new"):
        with pytest.raises(InvalidInputError, match="no such file or folder"):
            embed(tmp_path / "nowhere", place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [out.name]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device.*are kept: free space there and run the same again"),
        (errno.EROFS, "are kept: make it writable and run the same again"),
        (errno.EIO, "are kept: mend it, or choose another folder, and run the same again"),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_named_with_what_to_do(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    import pyarrow.parquet as parquet

    write, calls = parquet.write_table, []

    def write_until_full(*arguments: Any, **named: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(number, "what the system says")
        write(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", write_until_full)
        with pytest.raises(StorageError, match=rf"{re.escape(str(out))}: cannot be written to: .*{advice}"):
            embed(folder, out)
    assert len(parts(out)) == 2
    assert not list(out.glob(".part-*"))
    result, _ = embed(folder, out)
    assert result.complete
    assert result.written == result.parts - 2


def test_a_place_that_cannot_be_a_folder_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StorageError, match=rf"{re.escape(str(place))}: cannot be written to: .*another folder"):
            embed(folder, place)
    assert (tmp_path / "file").read_text() == "here"


def test_a_damaged_part_is_named_and_only_it_is_done_again(folder: Path, out: Path) -> None:
    whole, _ = embed(folder, out)
    expected = everything(open_shards(out))
    victim = sorted(out.glob("part-*"))[1]
    data = victim.read_bytes()
    victim.write_bytes(data[:-20])
    with pytest.raises(FileFormatError, match=rf"{victim.name}.*delete it and run the same embed command"):
        open_shards(out)
    with pytest.raises(FileFormatError, match=victim.name):
        embed(folder, out)
    parquet = pytest.importorskip("pyarrow.parquet")
    vectors = parquet.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(2)
    assert vectors.path_in_schema.startswith("embedding")
    at = vectors.data_page_offset + vectors.total_compressed_size - 1
    victim.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(FileFormatError, match=victim.name):
        list(open_shards(out).batches())
    victim.unlink()
    result, _ = embed(folder, out)
    assert (result.written, result.parts) == (1, whole.parts)
    assert everything(open_shards(out)) == expected


def test_the_manifest_is_checked(folder: Path, out: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no shards here.*commonscale embed"):
        open_shards(folder)
    embed(folder, out)
    manifest = out / "embedding.json"
    text = manifest.read_text()
    for bad, message in (
        (text[:40], "no valid JSON"),
        ("{}", "not a manifest"),
        (text.replace('"schema_version": 1', '"schema_version": 2'), "schema version 2"),
        (text.replace('"dimension": 8', '"dimension": 0'), "damaged manifest"),
        (text.replace("part-", "../part-"), "damaged manifest"),
        (text.replace('"corpus"', '"corpse"'), "damaged manifest"),
    ):
        manifest.write_text(bad)
        with pytest.raises(FileFormatError, match=message):
            open_shards(out)
    manifest.write_text(text.replace("noting-1", "other-2"))
    with pytest.raises(FileFormatError, match=r"holds vectors of the encoder 'noting-1'"):
        open_shards(out)
    manifest.unlink()
    result, seen = embed(folder, out)
    assert (result.written, seen) == (0, [])


def test_no_more_pictures_than_a_partition_has_are_held(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commonscale.encoders import batched

    alive, counts = Counter[str](), []
    read = batched.read_image

    def noting_read(*arguments: Any) -> Any:
        image = read(*arguments)
        alive["pictures"] += 1
        weakref.finalize(image, alive.subtract, ["pictures"])
        counts.append(alive["pictures"])
        return image

    monkeypatch.setattr(batched, "read_image", noting_read)
    embed_corpus(write_corpus(folder.with_name("more"), 100, 0), out, noting_encoder(batch_size=2), partition_size=100)
    assert len(counts) == 100
    assert max(counts) < 20, "a few batches are read ahead, and nothing is kept"
