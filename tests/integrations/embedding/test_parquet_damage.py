"""Parquet files with damage inside and with values that Python cannot hold: nothing else is lost by them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("filelock")

import pyarrow as pa
import pyarrow.parquet as parquet

from commonscale.embedding import EmbedResult, embed_corpus, open_shards
from embedding_world import everything, noting_encoder

NOT_UTF8 = b"\xff\xfe\xfd"


def embed(corpus: Path, out: Path, **settings: Any) -> tuple[EmbedResult, dict[str, tuple[Any, ...]]]:
    result = embed_corpus(corpus, out, noting_encoder(), **settings)
    return result, {row[0]: row[1:] for row in everything(open_shards(out))}


def strings(values: Sequence[bytes]) -> pa.Array:
    """A column of strings that are not checked."""
    binary = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(values), *binary.buffers()[1:])


def overwrite(path: Path, group: int, column: int) -> None:
    """Damage the pages of a column in a row group."""
    with parquet.ParquetFile(path) as file:
        pages = file.metadata.row_group(group).column(column)
        at = pages.data_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 30] = bytes(30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("size", "lost"),
    [(200, ["50-74"]), (100, ["50-74"]), (50, ["50-74"]), (30, ["50-59", "60-74"]), (10, ["50-59", "60-69", "70-74"])],
)
def test_damage_costs_the_rest_of_its_row_group_only(tmp_path: Path, size: int, lost: list[str]) -> None:
    path = tmp_path / "a.parquet"
    columns = {"id": [f"doc-{n}" for n in range(100)], "text": [f"text {n}" for n in range(100)]}
    parquet.write_table(pa.table(columns), path, row_group_size=25, compression="zstd")
    overwrite(path, 2, 1)
    result, found = embed(path, tmp_path / "out", partition_size=size)
    assert result.complete
    assert list(found) == [f"doc-{n}" for n in (*range(50), *range(75, 100))]
    assert [failure.id for failure in result.failures] == [f"a.parquet:{rows}" for rows in lost]
    assert all("these rows cannot be read: " in failure.reason for failure in result.failures)


def test_a_file_that_is_shorter_than_planned_loses_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    parquet.write_table(pa.table({"text": [f"text {n}" for n in range(30)]}), path)
    parquet.write_table(pa.table({"text": [f"text {n}" for n in range(12)]}), other)
    real = parquet.ParquetFile

    def changed(source: Any, **settings: Any) -> Any:
        # The rows are read with a buffer, the plan is made without.
        return real(other if "buffer_size" in settings else source, **settings)

    monkeypatch.setattr(parquet, "ParquetFile", changed)
    result, found = embed(path, tmp_path / "out", partition_size=10)
    assert list(found) == [f"a.parquet:{n}" for n in range(12)]
    assert {failure.id: failure.reason for failure in result.failures} == {
        "a.parquet:12-19": "these rows cannot be read: the file ends before row 19: it has changed since the run began",
        "a.parquet:20-29": "these rows cannot be read: EOFError: the file ends before row 20: it has changed since the "
        "run began",
    }


def test_text_that_is_not_utf8_fails_its_own_row(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": strings([b"a", NOT_UTF8, b"c", b"d"]),
            "text": strings([b"text 0", b"text 1", NOT_UTF8, b"text 3"]),
            "note": strings([b"ab", b"cd", b"ef", NOT_UTF8]),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    result, found = embed(tmp_path / "a.parquet", tmp_path / "out")
    assert {key: row[3] for key, row in found.items()} == {"a": {"note": "ab"}, "d": {"note": None}}
    reasons = {failure.id: failure.reason for failure in result.failures}
    assert set(reasons) == {"a.parquet:1", "c"}
    assert reasons["a.parquet:1"].startswith("the column 'id' cannot be read: UnicodeDecodeError: ")
    assert reasons["c"].startswith("the text cannot be read: UnicodeDecodeError: ")


def test_a_path_of_a_picture_that_is_not_utf8_fails_its_own_row(tmp_path: Path) -> None:
    table = pa.table({"image": strings([NOT_UTF8, b"none.png"]), "text": ["text 0", "text 1"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    result, found = embed(tmp_path / "a.parquet", tmp_path / "out")
    assert set(found) == {"a.parquet:0#text", "a.parquet:1#text"}
    first, second = (failure.reason for failure in result.failures)
    assert first.startswith("the picture cannot be read: UnicodeDecodeError: ")
    assert second == "no such file"


def test_times_that_python_cannot_hold_become_null(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["text 0", "text 1", "text 2"],
            "when": pa.array([0, 10**12, None], pa.timestamp("s")),
            "zoned": pa.array([10**12, 0, 0], pa.timestamp("s", "UTC")),
            "nested": pa.array([{"at": 0}, {"at": 0}, {"at": 10**12}], pa.struct([("at", pa.timestamp("s"))])),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    result, found = embed(tmp_path / "a.parquet", tmp_path / "out")
    assert result.failures == ()
    zero, plain = "1970-01-01T00:00:00+00:00", {"at": "1970-01-01T00:00:00"}
    assert [row[3] for row in found.values()] == [
        {"when": "1970-01-01T00:00:00", "zoned": None, "nested": plain},
        {"when": None, "zoned": zero, "nested": plain},
        {"when": None, "zoned": zero, "nested": None},
    ]


def test_nanoseconds_need_no_pandas(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ImportError('not installed')")
    program = """
import pyarrow as pa
from commonscale.embedding.parquet_values import values_of

at = [1700000000123456789, None]
for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.duration("ns")):
    print([getattr(value, "text", "whole") for value in values_of(pa.array(at, kind))])
print(values_of(pa.array([3723000000001], pa.time64("ns")))[0].text)
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "['2023-11-14T22:13:20.123456789', 'whole']",
        "['2023-11-14T22:13:20.123456789Z', 'whole']",
        "[None, 'whole']",
        "01:02:03.000000001",
    ]


def test_binary_values_are_left_out_at_any_depth(tmp_path: Path) -> None:
    pictures = [{"bytes": b"\x89PNG", "path": "a.png"}]
    table = pa.table(
        {
            "text": ["text 0"],
            "images": [pictures],
            "inside": [{"pictures": pictures, "n": 1}],
            "raw": [[b"\x00"]],
            "map": pa.array([[("a", b"\x00")]], pa.map_(pa.string(), pa.binary())),
            "boxes": [[[1.0, float("nan")], []]],
            "labels": [[{"name": "dog"}]],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    _, found = embed(tmp_path / "a.parquet", tmp_path / "out")
    (row,) = found.values()
    assert row[3] == {"boxes": [[1.0, None], []], "labels": [{"name": "dog"}]}
