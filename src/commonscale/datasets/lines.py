"""Files of JSON: one record a line, or one huge object; read a piece at a time, with the place in every error."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from commonscale.core.errors import FileFormatError

Record = Mapping[str, Any]

_CHUNK = 1 << 20  # characters of a huge object that are read at once
_LONGEST = 64 << 20  # characters; WebQA's longest entry has well under a million
_SPACE = " \t\n\r"

T = TypeVar("T")


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Read JSON lines, compressed if the name ends in ``.gz``; blank lines are passed over.

    Args:
        path: the file.

    Yields:
        Where it stands ("FILE, line 7"), for messages, and the record.

    Raises:
        FileFormatError: naming file and line, if a line is no JSON object, or the compressed file is cut short.
    """
    for where, line in read_lines(path):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{where}: no valid JSON ({error}); {_AGAIN}") from error
        if not isinstance(record, dict):
            raise FileFormatError(f"{where}: a JSON object is needed, got {type(record).__name__}; {_AGAIN}")
        yield where, record


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Read the lines of a UTF-8 file that are not blank, each with where it stands.

    Raises:
        FileFormatError: naming file and line, if it is not UTF-8, or the compressed file is damaged.
    """
    number = 0
    with _opened(path) as stream, _damage_explained(path):
        for number, raw in enumerate(stream, start=1):
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
            if not line.strip():
                continue
            try:
                yield f"{path}, line {number}", line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise FileFormatError(f"{path}, line {number}: not UTF-8 ({error.reason}); {_AGAIN}") from error


def read_entries(path: Path) -> Iterator[tuple[str, str, Record]]:
    """Read one huge JSON object of objects entry by entry; memory holds one entry and a piece of the file.

    Args:
        path: the file, compressed if its name ends in ``.gz``.

    Yields:
        Where the entry stands, its key, and its value.

    Raises:
        FileFormatError: naming the file and the last entry that could be read, if it is no such object, or cut short.
    """
    with _opened(path) as raw, _damage_explained(path):
        window = _Window(io.TextIOWrapper(raw, encoding="utf-8-sig"), path)
        window.expect("{")
        while True:
            if window.peek() == "}":
                return
            key = window.value(str)
            window.where = f"{path}, entry {key!r}"
            window.expect(":")
            yield window.where, key, window.value(dict)
            if window.peek() == ",":
                window.expect(",")
            elif window.peek() != "}":
                raise FileFormatError(f"{window.where}: ',' or '}}' must follow, got {window.peek()!r}; {_AGAIN}")


class _Window:
    """A piece of a file of JSON, moved on as values are taken from it."""

    def __init__(self, stream: IO[str], path: Path) -> None:
        self.where = f"{path}, at its beginning"
        self._stream = stream
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """Give the next character that is no white space; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def expect(self, sign: str) -> None:
        """Take one character that must come next."""
        found = self.peek()
        if found != sign:
            raise FileFormatError(f"{self.where}: {sign!r} is needed, got {found or 'the end of the file'!r}; {_AGAIN}")
        self._at += 1

    def value(self, kind: type[T]) -> T:
        """Take a value, which must be of a kind that ends by itself: an object or a string."""
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
                break
            except (ValueError, RecursionError) as error:
                # Cut by the window's edge, as a rule; at the end of the file, or beyond any sane length, it is damage.
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise FileFormatError(f"{self.where}: cut short, or no valid JSON ({error}); {_AGAIN}") from error
        self._at = end
        if not isinstance(found, kind):
            raise FileFormatError(f"{self.where}: {kind.__name__} needed, got {type(found).__name__}; {_AGAIN}")
        return found

    def _more(self) -> bool:
        """Read on, at least as much again as is waiting, so that a long value is not parsed again and again."""
        waiting = len(self._text) - self._at
        try:
            piece = self._stream.read(max(_CHUNK, waiting))
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{self.where}: not UTF-8 ({error.reason}); {_AGAIN}") from error
        self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)


def field(record: Record, name: str, kind: type[T], where: str) -> T:
    """Give a field of a record.

    Raises:
        FileFormatError: naming file, line and field, if it is missing or of another kind.
    """
    value = record.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        given = f"a {type(value).__name__}" if name in record else "nothing"
        raise FileFormatError(f"{where}: {name!r} must be a {kind.__name__}, got {given}; {_AGAIN}")
    return value


def optional(record: Record, name: str, kind: type[T], where: str, default: T) -> T:
    """Give a field that may be missing or null."""
    return default if record.get(name) is None else field(record, name, kind, where)


def records_of(record: Record, name: str, where: str) -> list[Record]:
    """Give a field that is a list of objects, empty if it is missing or null.

    Raises:
        FileFormatError: if it is anything else.
    """
    found: list[Any] = optional(record, name, list, where, [])
    for entry in found:
        if not isinstance(entry, dict):
            raise FileFormatError(f"{where}: {name!r} must hold objects, got a {type(entry).__name__}; {_AGAIN}")
    return found


_AGAIN = "the file is damaged or not the published one: get it again"


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileFormatError(f"{path}: not a whole gzip file ({error}); {_AGAIN}") from error
