"""Reading the rows of a partition."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from commonscale.core.types import IMAGE, TEXT
from commonscale.embedding.items import Entry, Item, passages
from commonscale.embedding.parquet_rows import LostRows, RowReader
from commonscale.embedding.parquet_values import BadValue
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
        The passages and the picture of each row; one failure for a row that cannot be used, and one for all rows that
        are lost by damage in one place.
    """
    for found in reader.rows(work):
        if isinstance(found, LostRows):
            name = f"{work.name}:{found.number}-{found.stop - 1}"
            yield [ShardFailure(name, f"these rows cannot be read: {found.reason}", found.transient)]
        else:
            yield _entry(work, found.number, found.values, chunker)


def _entry(work: RowsWork, number: int, values: Mapping[str, Any], chunker: Chunker | None) -> Entry:
    columns = work.columns
    key = f"{work.name}:{number}" if columns.id is None else values[columns.id]
    if isinstance(key, BadValue):
        return [ShardFailure(f"{work.name}:{number}", f"the column {columns.id!r} cannot be read: {key.reason}")]
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
    if isinstance(text, BadValue):
        return [ShardFailure(key, f"the text cannot be read: {text.reason}")]
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
    if isinstance(value, BadValue):
        return f"the picture cannot be read: {value.reason}"
    if not isinstance(value, str):
        return f"a picture must be bytes, a struct of bytes and path, or a path, got {type(value).__name__}"
    if "://" in value:
        return "URLs are not opened; download the pictures and give their paths or bytes"
    return Path(work.path).parent / value


def _is_plain(value: Any) -> bool:
    """Say whether there are no binary values in it, at any depth."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if isinstance(value, (list, tuple)) else not isinstance(value, bytes)


def _plain(value: Any) -> Any:
    """Turn a value of Parquet into what JSON can hold: times as ISO text, NaN as null, other types as text."""
    if isinstance(value, BadValue):
        return value.text
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
