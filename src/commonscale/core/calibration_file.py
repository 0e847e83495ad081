"""The format of ``calibration.json``.

    {"format": "commonscale.calibration", "schema_version": 1, "method": "standardized",
     "created": "2026-01-31T12:00:00+00:00", "questions": 2000,
     "modalities": {"text": {"mean": 0.81, "std": 0.04, "count": 2000,
                             "encoder_fingerprint": "...", "dimension": 512, "score_kind": "cosine"}, ...}}

Version 2 adds, where a calibration has them, to a modality

    "background": {"mean": 0.02, "std": 0.11, "documents": 5000, "p": 1e-05}
    "correction": {"questions": [mean of unit question vectors], "documents": [mean of unit document vectors],
                   "hub_weight": 0.5, "table": "0"}

and to the whole "strata" (by key) and "image_questions", which hold "method", "created", "questions" and "modalities"
of their own; a stratum's "correction": "shared" is that of the whole. A table is the key of arrays in the file that
"documents": {"file": name, "sha256": hex} names, or the arrays themselves: {"ids", "along", "norms", "hubs"}.

Unknown fields are refused, not skipped: a field of a later version may change what the numbers mean. Version 1 is
written where nothing of version 2 is needed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from commonscale.core.background import Background
from commonscale.core.calibration import Calibration, ModalityCalibration, Provenance
from commonscale.core.correction import Correction, DocumentTable
from commonscale.core.errors import CommonscaleError, FileFormatError
from commonscale.core.file_kinds import LIVING, TABLES, kind_of
from commonscale.core.statistics import ModalityStatistics
from commonscale.core.types import Floats

FORMAT = "commonscale.calibration"
SCHEMA_VERSION = 2
_TOP = {"format", "schema_version", "documents"}
_SCALE = {"method", "created", "questions", "modalities", "strata", "image_questions"}
_NUMBERS = ("mean", "std", "count")
_PROVENANCE = ("encoder_fingerprint", "dimension", "score_kind")
_BACKGROUND = ("mean", "std", "documents", "p")
_CORRECTION = {"questions", "documents", "hub_weight", "table"}
_ARRAYS = ("along", "norms", "hubs")
_SHARED = "shared"

Tables = Callable[[Mapping[str, Any]], Mapping[str, DocumentTable]]


def tables_of(calibration: Calibration) -> dict[str, DocumentTable]:
    """Give the tables of documents of a calibration, by the keys that its file names them with."""
    tables: dict[int, DocumentTable] = {}
    for scale in (calibration, *calibration.strata.values(), calibration.image_questions):
        for entry in () if scale is None else scale.modalities.values():
            if entry.correction is not None:
                tables.setdefault(id(entry.correction.documents), entry.correction.documents)
    return {str(number): table for number, table in enumerate(tables.values())}


def dumps(calibration: Calibration, documents: Mapping[str, str] | None = None) -> str:
    """Render a calibration as JSON text; floats keep every bit.

    Args:
        calibration: the calibration.
        documents: name and hash of the file that holds its tables of documents; None writes them into the text.
    """
    tables = tables_of(calibration)
    keys = {id(table): key for key, table in tables.items()}
    scale = _scale(calibration, None, keys if documents else {})
    plain = scale.keys() <= {"method", "created", "questions", "modalities"} and not any(
        "correction" in entry or "background" in entry for entry in scale["modalities"].values()
    )
    document = {"format": FORMAT, "schema_version": 1 if plain else SCHEMA_VERSION, **scale}
    if documents:
        document["documents"] = dict(documents)
    return json.dumps(document, indent=None if tables else 2, allow_nan=False, ensure_ascii=False) + "\n"


def _scale(calibration: Calibration, whole: Calibration | None, keys: Mapping[int, str]) -> dict[str, Any]:
    modalities = {}
    for modality, entry in calibration.modalities.items():
        shared = whole.modalities[modality].correction if whole and modality in whole.modalities else None
        modalities[modality] = _entry(entry, shared, keys)
    document: dict[str, Any] = {
        "method": calibration.method,
        "created": calibration.created.isoformat(),
        "questions": calibration.questions,
        "modalities": modalities,
    }
    if calibration.strata:
        document["strata"] = {key: _scale(one, calibration, keys) for key, one in calibration.strata.items()}
    if calibration.image_questions is not None:
        document["image_questions"] = _scale(calibration.image_questions, None, keys)
    return document


def _entry(entry: ModalityCalibration, shared: Correction | None, keys: Mapping[int, str]) -> dict[str, Any]:
    written: dict[str, Any] = {name: getattr(entry.statistics, name) for name in _NUMBERS}
    written |= {name: getattr(entry.provenance, name) for name in _PROVENANCE}
    if entry.background is not None:
        written["background"] = {name: getattr(entry.background, name) for name in _BACKGROUND}
    correction = entry.correction
    if correction is not None and correction is shared:
        written["correction"] = _SHARED
    elif correction is not None:
        table = correction.documents
        inline = {"ids": list(table.ids), **{name: getattr(table, name).tolist() for name in _ARRAYS}}
        written["correction"] = {
            "questions": correction.question_mean.tolist(),
            "documents": correction.document_mean.tolist(),
            "hub_weight": correction.hub_weight,
            "table": keys.get(id(table), inline),
        }
    return written


def loads(data: bytes, name: str, read: Tables | None = None) -> Calibration:
    """Parse what ``dumps`` wrote.

    Args:
        data: the file's bytes.
        name: the file's name, for error messages.
        read: reads the tables of documents from the file that is named; without it they must be in the text.

    Raises:
        FileFormatError: if it is damaged, is no calibration, or was written by a newer version.
    """
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        kind = kind_of(io.BytesIO(data))
        if kind in (LIVING, TABLES):
            raise FileFormatError(f"{name}: is no JSON file of a calibration, but {kind}") from None
        raise FileFormatError(
            f"{name}: not a calibration: the file is no valid JSON ({error}); it is damaged or "
            f"truncated; calibrate again or restore it from a backup"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileFormatError(f'{name}: not a calibration file: it lacks "format": "{FORMAT}"')
    version = document.get("schema_version")
    if version not in range(1, SCHEMA_VERSION + 1) or isinstance(version, (bool, float)):
        raise FileFormatError(
            f"{name}: has schema version {version!r}, this commonscale reads versions 1 to {SCHEMA_VERSION}; "
            f"upgrade commonscale or calibrate again"
        )
    try:
        tables = read(_typed(document, "documents", dict)) if read and "documents" in document else {}
        return _build({key: value for key, value in document.items() if key not in _TOP}, None, tables)
    except FileFormatError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, CommonscaleError) as error:
        raise FileFormatError(f"{name}: damaged calibration: {_reason(error)}; calibrate again") from error


def _build(document: dict[str, Any], whole: Calibration | None, tables: Mapping[str, DocumentTable]) -> Calibration:
    _refuse_unknown(document, _SCALE)
    modalities = {}
    for modality, entry in _typed(document, "modalities", dict).items():
        if not isinstance(entry, dict):
            raise TypeError(f"modality {modality!r} is {type(entry).__name__}, not an object")
        _refuse_unknown(entry, {*_NUMBERS, *_PROVENANCE, "background", "correction"})
        shared = whole.modalities[modality].correction if whole and modality in whole.modalities else None
        modalities[modality] = ModalityCalibration(
            ModalityStatistics(_number(entry, "mean"), _number(entry, "std"), _typed(entry, "count", int)),
            Provenance(
                _typed(entry, "encoder_fingerprint", (str, type(None))),
                _typed(entry, "dimension", (int, type(None))),
                _typed(entry, "score_kind", (str, type(None))),
            ),
            _background(_typed(entry, "background", dict)) if "background" in entry else None,
            _correction(entry, shared, tables) if "correction" in entry else None,
        )
    pictures = _typed(document, "image_questions", dict) if "image_questions" in document else None
    built = Calibration(
        modalities,
        method=_typed(document, "method", str),
        questions=_typed(document, "questions", int),
        created=datetime.fromisoformat(_typed(document, "created", str)),
        image_questions=None if pictures is None else _build(pictures, None, tables),
    )
    strata = _typed(document, "strata", dict) if "strata" in document else {}
    return replace(built, strata={key: _build(one, built, tables) for key, one in strata.items()}) if strata else built


def _background(entry: dict[str, Any]) -> Background:
    _refuse_unknown(entry, set(_BACKGROUND))
    return Background(
        _number(entry, "mean"), _number(entry, "std"), _typed(entry, "documents", int), _number(entry, "p")
    )


def _correction(
    entry: dict[str, Any], shared: Correction | None, tables: Mapping[str, DocumentTable]
) -> Correction | None:
    if entry["correction"] == _SHARED and shared is not None:
        return shared
    correction = _typed(entry, "correction", dict)
    _refuse_unknown(correction, _CORRECTION)
    named = _typed(correction, "table", (str, dict))
    if isinstance(named, dict):
        _refuse_unknown(named, {"ids", *_ARRAYS})
        table = DocumentTable(_typed(named, "ids", list), *(_floats(named, name) for name in _ARRAYS))
    else:
        table = tables[named]
    means = _floats(correction, "questions"), _floats(correction, "documents")
    return Correction(*means, table, _number(correction, "hub_weight"))


def _floats(entry: dict[str, Any], key: str) -> Floats:
    values = np.array(_typed(entry, key, list), dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"field {key!r} is no list of finite numbers")
    return values


def _number(entry: dict[str, Any], key: str) -> float:
    return float(_typed(entry, key, (int, float)))


def _typed(entry: dict[str, Any], key: str, types: type | tuple[type, ...]) -> Any:
    value = entry[key]
    if isinstance(value, bool) or not isinstance(value, types):
        raise TypeError(f"field {key!r} is {value!r}")
    return value


def _refuse_unknown(entry: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ValueError(f"unknown fields {unknown} (perhaps from a newer commonscale)")


def _reason(error: Exception) -> str:
    return f"field {error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
