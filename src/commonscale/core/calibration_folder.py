"""A calibration on disk: its JSON file and, if it has tables of documents, a second file of arrays beside it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.calibration_file import dumps, loads, tables_of
from commonscale.core.correction import DocumentTable
from commonscale.core.errors import FileFormatError
from commonscale.core.files import write_bytes_atomically, write_text_atomically

_ARRAYS = ("along", "norms", "hubs")


def save(calibration: Calibration, path: str | os.PathLike[str]) -> None:
    """Write a calibration; the JSON file last, so that what it names is there.

    Args:
        calibration: the calibration.
        path: the JSON file.
    """
    file = Path(path)
    tables = tables_of(calibration)
    if not tables:
        write_text_atomically(file, dumps(calibration))
        _remove_others(file, None)
        return
    data = _pack(tables)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{file.stem}-{digest[:16]}.npz"
    write_bytes_atomically(file.parent / name, data)
    write_text_atomically(file, dumps(calibration, documents={"file": name, "sha256": digest}))
    _remove_others(file, name)


def load(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it, or the file that it names, is damaged, missing or from a newer version.
    """
    return loads(path.read_bytes(), os.fspath(path), lambda named: _tables(path, named))


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


def _remove_others(file: Path, kept: str | None) -> None:
    """Remove what earlier calibrations of this name left."""
    ours = re.compile(re.escape(file.stem) + r"-[0-9a-f]{16}\.npz")
    for other in file.parent.glob("*.npz"):
        if other.name != kept and ours.fullmatch(other.name):
            other.unlink(missing_ok=True)
