"""Rows of Parquet, JSON lines and delimited text, read alike."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from commonscale.core.errors import FileFormatError
from commonscale.core.extras import require
from commonscale.datasets.lines import Record, read_lines, read_records

_ENDINGS = r"(-\d+-of-\d+|-\d+)?\.(parquet|jsonl|jsonl\.gz|tsv|csv|txt)"


def table_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Find the files of a table in a folder or anywhere below it.

    A table may be one file (``queries.jsonl``), several (``query-00000-of-00002.parquet``), or a folder of its name
    (``query/0000.parquet``); where there are several forms, the one with the first name, in the format that comes first
    of Parquet, JSON lines and text, is taken.

    Args:
        folder: where to look.
        names: what the table may be called.

    Returns:
        Its files in order; empty if there are none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for name in names:
        pattern = re.compile(rf"{re.escape(name)}{_ENDINGS}")
        inside = re.compile(rf".*{_ENDINGS}")
        found = [path for path in files if pattern.fullmatch(path.name)]
        found = found or [path for path in files if path.parent.name == name and inside.fullmatch(path.name)]
        for ending in (".parquet", ".jsonl", ".jsonl.gz", ".tsv", ".csv", ".txt"):
            if alike := [path for path in found if path.name.endswith(ending)]:
                return [path for path in alike if path.parent == alike[0].parent]
    return []


def read_rows(paths: Sequence[Path]) -> Iterator[tuple[str, Record]]:
    """Read the rows of files, one after the other, each with where it stands.

    Raises:
        FileFormatError: naming file and row, if one is damaged.
        MissingExtraError: if a file is Parquet and pyarrow is not installed.
    """
    for path in paths:
        if path.suffix == ".parquet":
            yield from _parquet(path)
        elif path.name.endswith((".jsonl", ".jsonl.gz")):
            yield from read_records(path)
        else:
            yield from _delimited(path)


def _parquet(path: Path) -> Iterator[tuple[str, Record]]:
    parquet = require("pyarrow.parquet", "embedding")
    row = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):
                for record in batch.to_pylist():
                    yield f"{path}, row {row}", record
                    row += 1
    except require("pyarrow", "embedding").ArrowException as error:
        raise FileFormatError(f"{path}, after row {row}: damaged ({error}); get the file again") from error


def _delimited(path: Path) -> Iterator[tuple[str, Record]]:
    """Read text with a header: tabs where the header has any, commas for ``.csv``, else white space."""
    heading: list[str] = []
    for where, line in read_lines(path):
        values = _cells(line, path, heading)
        if not heading:
            heading = values
            continue
        if len(values) != len(heading):
            raise FileFormatError(
                f"{where}: {len(values)} columns where the header has {len(heading)} ({', '.join(heading)}); get the "
                f"file again"
            )
        row: dict[str, Any] = dict(zip(heading, values, strict=True))
        yield where, row


def _cells(line: str, path: Path, heading: Sequence[str]) -> list[str]:
    if path.suffix == ".csv":
        return next(csv.reader([line]))
    return [cell.strip() for cell in line.split("\t")] if "\t" in line or len(heading) == 1 else line.split()
