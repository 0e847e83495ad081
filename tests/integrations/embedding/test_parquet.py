"""Embedding Parquet files: columns, kinds of pictures, ranges of rows."""

from __future__ import annotations

import datetime as dt
import decimal
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("filelock")

import pyarrow as pa
import pyarrow.parquet as parquet

from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.embedding import EmbedResult, embed_corpus, open_shards
from commonscale.encoders import CallableEncoder
from embedding_world import everything, noting_encoder, unit, write_corpus


def picture(number: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number // 256, number % 256, 7)).save(stream, "PNG")
    return stream.getvalue()


def embed(corpus: Path, out: Path, **settings: Any) -> tuple[EmbedResult, list[str]]:
    seen: list[str] = []
    return embed_corpus(corpus, out, noting_encoder(seen.extend), **settings), seen


def found(out: Path) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in everything(open_shards(out))}


def write_texts(path: Path, start: int, stop: int, **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = range(start, stop)
    columns = {"id": [f"doc-{n}" for n in rows], "text": [f"text {n}" for n in rows], "year": list(rows)}
    parquet.write_table(pa.table(columns), path, **settings)
    return path


def test_texts_with_ids_and_metadata(tmp_path: Path) -> None:
    corpus, out = write_texts(tmp_path / "texts.parquet", 0, 25, row_group_size=7), tmp_path / "out"
    result, seen = embed(corpus, out, partition_size=10)
    assert (result.items, result.parts, result.counts, result.failures) == (25, 3, {"text": 25}, ())
    assert sorted(seen) == sorted(f"text {n}" for n in range(25))
    rows = everything(open_shards(out))
    assert [row[0] for row in rows] == [f"doc-{n}" for n in range(25)]
    assert rows[17] == ("doc-17", "text", "text 17", None, {"year": 17}, unit("text 17").tobytes())
    again, seen = embed(corpus, out)
    assert (again.written, seen) == (0, [])


def test_pictures_in_every_form(tmp_path: Path) -> None:
    kinds = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "3.png").write_bytes(picture(3))
    as_struct = [
        {"bytes": picture(1), "path": "1.png"},
        {"bytes": picture(2), "path": None},
        {"bytes": None, "path": "pictures/3.png"},
        {"bytes": None, "path": None},
        {"bytes": b"broken", "path": "5.png"},
    ]
    parquet.write_table(pa.table({"image": pa.array(as_struct, kinds)}), tmp_path / "structs.parquet")
    result, _ = embed(tmp_path / "structs.parquet", tmp_path / "1")
    shown = found(tmp_path / "1")
    assert {key: row[-1] for key, row in shown.items()} == {
        f"structs.parquet:{n}": unit(f"picture {n + 1}").tobytes() for n in range(3)
    }
    assert shown["structs.parquet:2"][2] == str(tmp_path / "pictures" / "3.png")
    assert shown["structs.parquet:0"][2] is None
    reasons = {failure.id: failure.reason for failure in result.failures}
    assert reasons["structs.parquet:3"] == "neither a text nor a picture in this row"
    assert "not a picture" in reasons["structs.parquet:4"]

    parquet.write_table(pa.table({"photo": [picture(8), None, picture(9)]}), tmp_path / "bytes.parquet")
    embed(tmp_path / "bytes.parquet", tmp_path / "2", image_column="photo")
    assert {row[-1] for row in found(tmp_path / "2").values()} == {unit(f"picture {n}").tobytes() for n in (8, 9)}

    paths = ["pictures/3.png", "pictures/none.png", "https://example.org/a.png"]
    parquet.write_table(pa.table({"image": paths, "id": [7, 8, 9]}), tmp_path / "paths.parquet")
    result, _ = embed(tmp_path / "paths.parquet", tmp_path / "3")
    assert {key: row[-1] for key, row in found(tmp_path / "3").items()} == {"7": unit("picture 3").tobytes()}
    reasons = {failure.id: failure.reason for failure in result.failures}
    assert reasons["8"] == "no such file"
    assert "URLs are not opened" in reasons["9"]


def test_a_row_with_both_gives_two_documents_and_a_long_text_passages(tmp_path: Path) -> None:
    pytest.importorskip("semantic_text_splitter")
    columns = {"id": ["a", "b"], "text": ["text 1", "one two three. four five six."], "image": [picture(1), None]}
    parquet.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    encoder = CallableEncoder(
        embed_text=lambda texts: [[len(text), 1.0] for text in texts],
        embed_image=lambda images: [[1.0, 0.0] for _ in images],
        fingerprint="words",
        max_tokens=3,
        count_tokens=lambda texts: [len(text.split()) for text in texts],
    )
    embed_corpus(tmp_path / "pairs.parquet", tmp_path / "out", encoder)
    shown = found(tmp_path / "out")
    assert {key: row[1] for key, row in shown.items()} == {
        "a#text": "text 1",
        "a#image": "",
        "b#1": "one two three.",
        "b#2": "four five six.",
    }
    assert shown["b#2"][3] == {"passage": 2, "passages": 2}


def test_metadata_of_every_type_becomes_json(tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["text 1"]),
        "when": pa.array([dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)]),
        "day": pa.array([dt.date(2020, 1, 2)]),
        "score": pa.array([float("nan")]),
        "tags": pa.array([["a", "b"]]),
        "nested": pa.array([{"x": 1, "y": None}]),
        "price": pa.array([decimal.Decimal("1.00")]),
        "sound": pa.array([b"\x00\x01"]),
        "good": pa.array([True]),
    }
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    embed(tmp_path / "x.parquet", tmp_path / "out")
    ((_, _, _, metadata, _),) = found(tmp_path / "out").values()
    assert metadata == {
        "when": "2020-01-02T03:04:05+00:00",
        "day": "2020-01-02",
        "score": None,
        "tags": ["a", "b"],
        "nested": {"x": 1, "y": None},
        "price": "1.00",
        "good": True,
    }


def test_rows_that_cannot_be_used_are_failures(tmp_path: Path) -> None:
    columns = {"id": ["a", None, "d", "e"], "text": ["text 1", "text 2", None, " "]}
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    result, _ = embed(tmp_path / "x.parquet", tmp_path / "out")
    assert list(found(tmp_path / "out")) == ["a"]
    assert {failure.id: failure.reason for failure in result.failures} == {
        "x.parquet:1": "the column 'id' holds no id in this row",
        "d": "neither a text nor a picture in this row",
        "e": "no text in it",
    }
    parquet.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    result, _ = embed(tmp_path / "numbers.parquet", tmp_path / "numbers")
    assert result.failures[0].reason == "the text must be of type string, got int"


def test_an_id_that_comes_twice_is_refused_before_anything_is_embedded(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    write_texts(corpus / "a.parquet", 0, 150, row_group_size=40)
    write_texts(corpus / "b.parquet", 130, 160)
    seen: list[str] = []
    with pytest.raises(
        InvalidInputError, match=r"'doc-130' of the column 'id' .*a.parquet:130 and in b.parquet:0"
    ) as e:
        embed_corpus(corpus, out, noting_encoder(seen.extend), partition_size=100)
    assert "(file and row; 20 ids do)" in str(e.value)
    assert seen == []
    assert not out.exists()
    write_texts(corpus / "b.parquet", 150, 160)
    embed(corpus, out, partition_size=100)
    write_texts(corpus / "c.parquet", 7, 8)
    with pytest.raises(InvalidInputError, match=r"'doc-7' .*a.parquet:7 and in c.parquet:0"):
        embed(corpus, out)
    assert len(open_shards(out)) == 160, "what is there is not touched"
    # Numbers are ids as text is, and a row without an id has none that could come twice.
    parquet.write_table(pa.table({"id": [None, 7, None], "text": ["x", "y", "z"]}), corpus / "c.parquet")
    (corpus / "a.parquet").unlink()
    parquet.write_table(pa.table({"id": ["7", None], "text": ["x", "y"]}), corpus / "a.parquet")
    with pytest.raises(InvalidInputError, match=r"'7' .*a.parquet:0 and in c.parquet:1"):
        embed(corpus, out)
    parquet.write_table(pa.table({"id": [None, None], "text": ["v", "w"]}), corpus / "a.parquet")
    result, _ = embed(corpus, out)
    assert len(result.failures) == 4


def test_ids_that_are_made_of_others_may_come_twice_and_are_found(tmp_path: Path) -> None:
    columns = {"id": ["a", "a#text"], "text": ["text 1", "text 2"], "image": [picture(1), None]}
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    result, _ = embed(tmp_path / "x.parquet", tmp_path / "one")
    assert [(failure.id, failure.reason[:18]) for failure in result.failures] == [("a#text", "its id comes twice")]
    open_shards(tmp_path / "one").check_ids()
    embed(tmp_path / "x.parquet", tmp_path / "two", partition_size=1)
    shards = open_shards(tmp_path / "two")
    first, second = shards.manifest.parts
    with pytest.raises(InvalidInputError, match=rf"'a#text' comes twice, in {first}:0 and in {second}:0"):
        shards.check_ids()


def test_pictures_that_were_not_there_are_tried_again_and_nothing_else_embedded(tmp_path: Path) -> None:
    paths = [None, "1.png", "2.png", "3.png"]
    columns = {"id": list("abcd"), "text": ["text 1", None, "text 3", None], "image": paths}
    corpus, out = tmp_path / "x.parquet", tmp_path / "out"
    parquet.write_table(pa.table(columns), corpus)
    (tmp_path / "1.png").write_bytes(picture(1))
    (tmp_path / "3.png").write_bytes(b"no picture")
    first, _ = embed(corpus, out)
    assert {failure.id: failure.transient for failure in first.failures} == {"c#image": True, "d": False}
    (tmp_path / "2.png").write_bytes(picture(2))
    second, seen = embed(corpus, out)
    assert seen == ["picture 2"]
    assert [failure.id for failure in second.failures] == ["d"]
    assert [row[0] for row in everything(open_shards(out))] == ["a", "b", "c#text", "c#image"]
    assert found(out)["b"][-1] == unit("picture 1").tobytes()
    (tmp_path / "3.png").write_bytes(picture(3))
    third, seen = embed(corpus, out)
    assert (third.written, seen) == (0, [])
    fourth, seen = embed(corpus, out, retry_failed=True)
    assert (seen, fourth.failures, len(open_shards(out))) == (["picture 3"], (), 5)


def test_a_folder_of_files_grows_and_only_the_new_one_is_embedded(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "corpus" / "shards"
    write_texts(corpus / "a.parquet", 0, 12)
    write_texts(corpus / "deep" / "b.parquet", 12, 20)
    write_texts(corpus / ".hidden" / "c.parquet", 0, 12)
    result, _ = embed(corpus, out, partition_size=5)
    assert (result.items, result.parts) == (20, 5)
    write_texts(corpus / "aa.parquet", 20, 23)
    result, seen = embed(corpus, out)
    assert sorted(seen) == ["text 20", "text 21", "text 22"]
    assert (result.items, result.written) == (23, 1)
    (corpus / "a.parquet").unlink()
    result, seen = embed(corpus, out)
    assert (seen, result.items, len(open_shards(out))) == ([], 11, 11)
    assert len(list(out.glob("part-*"))) == result.parts == 3


def test_rows_missing_in_the_middle_are_read_across_row_groups(tmp_path: Path) -> None:
    corpus, out = write_texts(tmp_path / "x.parquet", 0, 300, row_group_size=90), tmp_path / "out"
    embed(corpus, out, partition_size=20)
    expected = everything(open_shards(out))
    names = list(open_shards(out).manifest.parts)
    for number in (0, 3, 4, 9, 14):
        (out / names[number]).unlink()
    result, seen = embed(corpus, out)
    wanted = [row for number in (0, 3, 4, 9, 14) for row in range(20 * number, 20 * number + 20)]
    assert sorted(seen) == sorted(f"text {row}" for row in wanted)
    assert result.written == 5
    assert everything(open_shards(out)) == expected


def test_a_file_that_is_damaged_inside_loses_only_its_own_rows(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    damaged = write_texts(corpus / "a.parquet", 0, 40, row_group_size=20, compression="zstd")
    write_texts(corpus / "b.parquet", 40, 60)
    with parquet.ParquetFile(damaged) as file:
        at = file.metadata.row_group(1).column(1).data_page_offset
    data = bytearray(damaged.read_bytes())
    data[at : at + 40] = bytes(40)
    damaged.write_bytes(data)
    result, _ = embed(corpus, tmp_path / "out", partition_size=20)
    assert result.complete
    assert set(found(tmp_path / "out")) == {f"doc-{n}" for n in (*range(20), *range(40, 60))}
    (failure,) = result.failures
    assert failure.id == "a.parquet:20-39"
    assert "cannot be read" in failure.reason


def test_columns_and_files_are_checked(tmp_path: Path) -> None:
    corpus, out = write_texts(tmp_path / "x.parquet", 0, 3), tmp_path / "out"
    with pytest.raises(InvalidInputError, match=r"no column 'words' for text.*\['id', 'text', 'year'\]"):
        embed(corpus, out, text_column="words")
    parquet.write_table(pa.table({"words": ["a"]}), tmp_path / "w.parquet")
    with pytest.raises(InvalidInputError, match="no column is named 'text' or 'image'"):
        embed(tmp_path / "w.parquet", out)
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    with pytest.raises(InvalidInputError, match="hold no rows"):
        embed(tmp_path / "empty.parquet", out)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FileFormatError, match=r"bad\.parquet: no readable Parquet file"):
        embed(tmp_path / "bad.parquet", out)
    embed(corpus, out)
    with pytest.raises(InvalidInputError, match="embedded from the columns"):
        embed(corpus, out, id_column="year")


def test_shards_of_another_run_are_no_part_of_a_corpus(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 2, 2)
    embed(corpus, corpus / "shards")
    result, _ = embed(corpus, corpus / "again")
    assert (result.items, result.counts, result.notes) == (4, {"image": 2, "text": 2}, ())

    write_texts(corpus / "deep" / "a.parquet", 0, 3)
    result, seen = embed(corpus, corpus / "rows")
    assert (result.items, sorted(seen)) == (3, ["text 0", "text 1", "text 2"])


def test_what_lies_beside_parquet_files_is_told_of(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 3, 2)
    names = [f"deep/picture-{n:03d}.png" for n in range(3)]
    parquet.write_table(pa.table({"file_name": names, "text": ["a", "b", "c"]}), corpus / "metadata.parquet")
    result, _ = embed(corpus, tmp_path / "texts")
    assert result.counts == {"text": 3}
    (note,) = result.notes
    assert "were not read: 5; if a column holds the paths of pictures, name it with --image-column" in note
    result, _ = embed(corpus, tmp_path / "both", image_column="file_name")
    assert result.counts == {"image": 3, "text": 3}
    assert result.notes == (
        "Pictures and texts beside the Parquet files, only read where the column 'file_name' names them: 5.",
    )
    assert embed(corpus / "metadata.parquet", tmp_path / "alone")[0].notes == ()


def test_files_without_a_column_in_common_are_refused(tmp_path: Path) -> None:
    for name, column in (("a", "x"), ("b", "y"), ("c", "text")):
        path = tmp_path / "corpus" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pa.table({column: ["words"]}), path)
    with pytest.raises(InvalidInputError, match=r"no column is named 'text' or 'image' in every file.*are \[\]"):
        embed(tmp_path / "corpus", tmp_path / "out")


@pytest.mark.parametrize(
    "ids",
    [pa.array([b"k1"]), pa.array([b"k1"], pa.binary(2)), pa.array([b"k1"]).dictionary_encode(), pa.array([[1]])],
    ids=["binary", "fixed", "dictionary", "list"],
)
def test_ids_must_be_texts_or_numbers(tmp_path: Path, ids: Any) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"id": ids, "key": pa.array(["a"]).dictionary_encode(), "text": ["text 1"]}), path)
    with pytest.raises(InvalidInputError, match=r"ids must be texts or numbers, the column 'id' is of type"):
        embed(path, tmp_path / "out")
    embed(path, tmp_path / "out", id_column="key")
    assert list(found(tmp_path / "out")) == ["a"]


def test_a_folder_that_cannot_be_listed_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path / "corpus" / "a.parquet", 0, 3)
    locked = write_texts(tmp_path / "corpus" / "deep" / "b.parquet", 3, 6).parent
    real = os.scandir

    def scandir(folder: Any) -> Any:
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InvalidInputError, match=r"deep: the folder cannot be listed.*nothing was changed"):
        embed(tmp_path / "corpus", tmp_path / "out")
