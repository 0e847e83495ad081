"""Reading the rows of a partition."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from commonscale.core.types import IMAGE, TEXT
from commonscale.embedding.items import Entry, Item, passages
from commonscale.embedding.parquet_rows import RowReader
from commonscale.embedding.partitions import RowsWork
from commonscale.embedding.records import ShardFailure
from commonscale.embedding.texts import Chunker


def parquet_entries(work: RowsWork, chunker: Chunker | None, reader: RowReader) -> Iterator[Entry]:
    """Read rows one by one.

    Args:
        work: which rows of which file.
        chunker: cuts texts; None leaves them whole.
        reader: reads them, and goes on where it stopped if partitions follow each other.

    Yields:
        The passages and the picture of each row; one failure for a row that cannot be used. If the file itself is
        damaged, one failure stands for all rows that are lost by it.
    """
    row = work.start
    try:
        for number, values in reader.rows(work):
            row = number
            yield _entry(work, number, values, chunker)
    except reader.errors as error:
        name = f"{work.name}:{row}-{work.stop - 1}"
        yield [ShardFailure(name, f"these rows cannot be read: {type(error).__name__}: {error}")]


def _entry(work: RowsWork, number: int, values: Mapping[str, Any], chunker: Chunker | None) -> Entry:
    columns = work.columns
    key = f"{work.name}:{number}" if columns.id is None else values[columns.id]
    if key is None or key == "":
        return [ShardFailure(f"{work.name}:{number}", f"the column {columns.id!r} holds no id in this row")]
    key = str(key)
    text = values[columns.text] if columns.text else None
    picture = _picture(values[columns.image], work) if columns.image else None
    used = {columns.id, columns.text, columns.image}
    metadata = {name: _plain(value) for name, value in values.items() if name not in used and _is_plain(value)}
    both = text is not None and picture is not None
    entry: Entry = []
    if text is not None:
        entry += _passages(text, f"{key}#text" if both else key, metadata, chunker, work)
    if isinstance(picture, str):
        entry.append(ShardFailure(key, picture))
    elif picture is not None:
        path = str(picture) if isinstance(picture, Path) else None
        entry.append(Item(f"{key}#image" if both else key, IMAGE, picture, path, metadata))
    return entry or [ShardFailure(key, "neither a text nor a picture in this row")]


def _passages(text: Any, key: str, metadata: Mapping[str, Any], chunker: Chunker | None, work: RowsWork) -> Entry:
    if not isinstance(text, str):
        return [ShardFailure(key, f"the text must be of type string, got {type(text).__name__}")]
    if not text.strip():
        return [ShardFailure(key, "no text in it")]
    cut = list(passages(text, key, chunker, Path(work.path)))
    return [
        Item(name, TEXT, words, None, {**metadata, **place} if len(cut) > 1 else metadata) for name, words, place in cut
    ]


def _picture(value: Any, work: RowsWork) -> bytes | Path | str | None:
    """Give a picture's bytes or path, None if there is none; a string says why it cannot be used."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        return f"a picture must be bytes, a struct of bytes and path, or a path, got {type(value).__name__}"
    if "://" in value:
        return "URLs are not opened; download the pictures and give their paths or bytes"
    return Path(work.path).parent / value


def _is_plain(value: Any) -> bool:
    return not isinstance(value, (bytes, Mapping)) or (
        isinstance(value, Mapping) and all(map(_is_plain, value.values()))
    )


def _plain(value: Any) -> Any:
    """Turn a value of Parquet into what JSON can hold: times as ISO text, NaN as null, other types as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
