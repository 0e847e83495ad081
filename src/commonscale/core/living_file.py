"""A living calibration on disk: one ``.npz`` file of arrays, without pickle.

Its array ``description`` holds JSON: format, version, settings, provenance and, for each kind of questions, the state
of their bank. Where that has an array, a list of ids or the vectors of questions, the JSON has
``{"array": name}`` or ``{"ids": name}``. Of questions there are the embeddings, and the wording only where it is kept.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from commonscale.core.calibration import Provenance
from commonscale.core.errors import CommonscaleError, FileFormatError
from commonscale.core.file_kinds import CALIBRATION, TABLES, kind_of
from commonscale.core.files import atomic_path
from commonscale.core.living_bank import LivingBank, Settings
from commonscale.core.types import Question

FORMAT = "commonscale.living"
SCHEMA_VERSION = 2
"""2: four numbers per document. 1 had three, and cannot be read: the fourth is not known without the documents."""
_LONG = 64  # lists of ids beyond this are kept out of the description


def write(
    path: str | os.PathLike[str],
    banks: Mapping[str, LivingBank],
    settings: Settings,
    provenance: Mapping[str, Provenance],
) -> None:
    """Write the file, whole or not at all."""
    arrays: dict[str, Any] = {}
    kinds = {
        kind: _packed(bank.state() | {"questions": _described((*bank.questions, *_waiting(bank)))}, arrays)
        for kind, bank in banks.items()
    }
    description = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "settings": asdict(settings),
        "provenance": {modality: asdict(known) for modality, known in provenance.items()},
        "banks": kinds,
    }
    arrays["description"] = _text(description)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read(path: str | os.PathLike[str]) -> tuple[Settings, dict[str, Provenance], dict[str, Any]]:
    """Read settings, provenance and the state of each bank, with its ``"questions"``.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it is damaged, something else, or from another version.
    """
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            kind = kind_of(file)
        if kind in (CALIBRATION, TABLES):
            raise FileFormatError(f"{name}: is no living calibration, but {kind}")
        # Opened here: NumPy leaves a file open that turns out to be damaged.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            description = json.loads(arrays["description"].tobytes())
            _check_version(name, description)
            settings = Settings(**description["settings"])
            provenance = {modality: Provenance(**known) for modality, known in description["provenance"].items()}
            states = {kind: _unpacked(state, arrays) for kind, state in description["banks"].items()}
            return settings, provenance, {k: s | {"questions": _questions(s["questions"])} for k, s in states.items()}
    except (FileNotFoundError, FileFormatError):
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        CommonscaleError,
    ) as error:
        raise FileFormatError(
            f"{name}: not a living calibration, or damaged; restore it from a backup, or fit again"
        ) from error


def _check_version(name: str, description: Mapping[str, Any]) -> None:
    version = description.get("schema_version")
    if description.get("format") != FORMAT:
        raise FileFormatError(f"{name}: is {description.get('format')!r}, not {FORMAT!r}; give a living calibration")
    if isinstance(version, int) and 0 < version < SCHEMA_VERSION:
        raise FileFormatError(
            f"{name}: was written by an earlier version of commonscale (format {version}, this one reads "
            f"{SCHEMA_VERSION}); calibrate again"
        )
    if version != SCHEMA_VERSION:
        raise FileFormatError(
            f"{name}: is of format {version!r}, this commonscale reads {SCHEMA_VERSION}; upgrade it or calibrate again"
        )


def _waiting(bank: LivingBank) -> list[Question]:
    return [bank.pending[slot] for slot in sorted(bank.pending)]


def _described(questions: Sequence[Question]) -> dict[str, Any]:
    """Give vectors by the modality that they search ("" for all), and whatever else is not the same for most."""
    vectors: dict[str, dict[str, Any]] = {}
    searched = dict.fromkeys(m for q in questions for m in (*([""] if q.vector is not None else []), *q.vectors))
    for modality in searched:
        own = {
            place: vector
            for place, q in enumerate(questions)
            if (vector := q.vectors.get(modality) if modality else q.vector) is not None
        }
        vectors[modality] = {"places": np.array(list(own)), "rows": np.stack(list(own.values()))}
    return {
        "count": len(questions),
        "kinds": sorted({question.kind for question in questions}),
        "vectors": vectors,
        "texts": {str(place): q.text for place, q in enumerate(questions) if q.text},
        "strata": {str(place): q.stratum for place, q in enumerate(questions) if q.stratum is not None},
    }


def _questions(known: Mapping[str, Any]) -> list[Question]:
    (kind,) = known["kinds"]
    vectors: list[dict[str, Any]] = [{} for _ in range(known["count"])]
    for modality, one in known["vectors"].items():
        for place, row in zip(one["places"].tolist(), one["rows"], strict=True):
            vectors[place][modality] = row
    return [
        Question(known["texts"].get(str(place), ""), own.pop("", None), own, kind, known["strata"].get(str(place)))
        for place, own in enumerate(vectors)
    ]


def _packed(value: Any, arrays: dict[str, Any]) -> Any:
    """Move arrays and long lists of ids out of a value."""
    name = str(len(arrays))
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list) and len(value) > _LONG:
        arrays[name] = _text(value)
        return {"ids": name}
    if isinstance(value, dict):
        return {key: _packed(one, arrays) for key, one in value.items()}
    return value


def _unpacked(value: Any, arrays: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array"}:
        return arrays[value["array"]]
    if value.keys() == {"ids"} and isinstance(value["ids"], str):
        return json.loads(arrays[value["ids"]].tobytes())
    return {key: _unpacked(one, arrays) for key, one in value.items()}


def _text(value: Any) -> Any:
    return np.frombuffer(json.dumps(value, separators=(",", ":")).encode("ascii"), dtype=np.uint8)
