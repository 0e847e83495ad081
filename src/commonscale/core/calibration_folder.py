"""A calibration on disk: its JSON file and, if it has tables of documents, a second file of arrays beside it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.calibration_file import FORMAT, dumps, loads, tables_of
from commonscale.core.correction import DocumentTable
from commonscale.core.errors import FileFormatError
from commonscale.core.files import write_bytes_atomically, write_text_atomically

_ARRAYS = ("along", "norms", "hubs")
_START = 64  # bytes, by which a calibration is told from other files: it begins with its format
_ABANDONED = 3600.0  # seconds


def save(calibration: Calibration, path: str | os.PathLike[str]) -> None:
    """Write a calibration; the JSON file last, so that what it names is there.

    Args:
        calibration: the calibration.
        path: the JSON file.
    """
    file = Path(path)
    before = _named_by(file)
    tables = tables_of(calibration)
    if not tables:
        write_text_atomically(file, dumps(calibration))
    else:
        data = _pack(tables)
        digest = hashlib.sha256(data).hexdigest()
        name = f"{file.stem}-{digest[:16]}.npz"
        write_bytes_atomically(file.parent / name, data)
        write_text_atomically(file, dumps(calibration, documents={"file": name, "sha256": digest}))
    _remove_others(file, before)


def load(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it, or the file that it names, is damaged, missing or from a newer version.
    """
    while True:
        data = path.read_bytes()
        try:
            return loads(data, os.fspath(path), lambda named: _tables(path, named))
        except FileFormatError:
            # Saved again since it was read: what the old one named may be gone.
            if path.read_bytes() == data:
                raise


def _pack(tables: Mapping[str, DocumentTable]) -> bytes:
    arrays: dict[str, Any] = {}
    for key, table in tables.items():
        # Ids as JSON: an array of strings would give every id the room of the longest.
        ids = json.dumps(list(table.ids), separators=(",", ":")).encode("ascii")
        arrays[f"{key}/ids"] = np.frombuffer(ids, dtype=np.uint8)
        arrays |= {f"{key}/{name}": getattr(table, name) for name in _ARRAYS}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _tables(path: Path, named: Mapping[str, Any]) -> dict[str, DocumentTable]:
    name, digest = str(named["file"]), str(named["sha256"])
    if Path(name).name != name:
        raise FileFormatError(f"{path}: names the file {name!r}, which is not beside it; calibrate again")
    file = path.parent / name
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise FileFormatError(
            f"{file}: is missing, which {path.name} needs: it holds what the calibration knows of the documents; keep "
            f"both files together, or calibrate again"
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise FileFormatError(f"{file}: is damaged, or not the file that {path.name} names; calibrate again")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            keys = [key.removesuffix("/ids") for key in arrays.files if key.endswith("/ids")]
            return {
                key: DocumentTable(json.loads(arrays[f"{key}/ids"].tobytes()), *(arrays[f"{key}/{n}"] for n in _ARRAYS))
                for key in keys
            }
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{file}: cannot be read: {error}; calibrate again") from error


def _remove_others(file: Path, before: str | None) -> None:
    """Remove what earlier calibrations of this name left.

    That is the file that the replaced one named, and such as nobody has named for an hour: a save that was
    interrupted, not one that goes on. What any calibration beside it names stays: it may be a copy.
    """
    ours = re.compile(re.escape(file.stem) + r"-[0-9a-f]{16}\.npz")
    left = [other for other in file.parent.glob("*.npz") if ours.fullmatch(other.name)]
    left = [other for other in left if other.name == before or _is_old(other)]
    if not left:
        return
    named = {_named_by(other) for other in file.parent.iterdir() if other.suffix != ".npz" and other.is_file()}
    for other in left:
        if other.name not in named:
            other.unlink(missing_ok=True)


def _is_old(file: Path) -> bool:
    try:
        return file.stat().st_mtime < time.time() - _ABANDONED
    except FileNotFoundError:
        return False


def _named_by(file: Path) -> str | None:
    """Give the name of the second file that a calibration names; None if it names none, or is no calibration."""
    try:
        with file.open("rb") as stream:
            start = stream.read(_START)
            if FORMAT.encode() not in start:
                return None
            document = json.loads(start + stream.read())
        return str(document["documents"]["file"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
