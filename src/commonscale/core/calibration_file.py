"""The format of ``calibration.json``.

    {"format": "commonscale.calibration", "schema_version": 1, "method": "standardized",
     "created": "2026-01-31T12:00:00+00:00", "questions": 2000,
     "modalities": {"text": {"mean": 0.81, "std": 0.04, "count": 2000,
                             "encoder_fingerprint": "...", "dimension": 512, "score_kind": "cosine"}, ...}}

Unknown fields are refused, not skipped: a field of a later version may change what the numbers mean.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from commonscale.core.calibration import Calibration, ModalityCalibration, Provenance
from commonscale.core.errors import CommonscaleError, FileFormatError
from commonscale.core.statistics import ModalityStatistics

FORMAT = "commonscale.calibration"
SCHEMA_VERSION = 1
_TOP = {"format", "schema_version", "method", "created", "questions", "modalities"}
_NUMBERS = ("mean", "std", "count")
_PROVENANCE = ("encoder_fingerprint", "dimension", "score_kind")


def dumps(calibration: Calibration) -> str:
    """Render a calibration as JSON text; floats keep every bit."""
    modalities: dict[str, dict[str, object]] = {}
    for modality, entry in calibration.modalities.items():
        numbers: dict[str, object] = {name: getattr(entry.statistics, name) for name in _NUMBERS}
        modalities[modality] = numbers | {name: getattr(entry.provenance, name) for name in _PROVENANCE}
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "method": calibration.method,
        "created": calibration.created.isoformat(),
        "questions": calibration.questions,
        "modalities": modalities,
    }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def loads(data: bytes, name: str) -> Calibration:
    """Parse what ``dumps`` wrote.

    Args:
        data: the file's bytes.
        name: the file's name, for error messages.

    Raises:
        FileFormatError: if it is damaged, is no calibration, or was written by a newer version.
    """
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{name}: not a calibration: the file is no valid JSON ({error}); it is damaged or "
            f"truncated; calibrate again or restore it from a backup"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileFormatError(f'{name}: not a calibration file: it lacks "format": "{FORMAT}"')
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise FileFormatError(
            f"{name}: has schema version {version!r}, this commonscale reads version {SCHEMA_VERSION}; "
            f"upgrade commonscale or calibrate again"
        )
    try:
        return _build(document)
    except (KeyError, TypeError, ValueError, OverflowError, CommonscaleError) as error:
        raise FileFormatError(f"{name}: damaged calibration: {_reason(error)}; calibrate again") from error


def _build(document: dict[str, Any]) -> Calibration:
    _refuse_unknown(document, _TOP)
    modalities = {}
    for modality, entry in _typed(document, "modalities", dict).items():
        if not isinstance(entry, dict):
            raise TypeError(f"modality {modality!r} is {type(entry).__name__}, not an object")
        _refuse_unknown(entry, {*_NUMBERS, *_PROVENANCE})
        modalities[modality] = ModalityCalibration(
            ModalityStatistics(
                float(_typed(entry, "mean", (int, float))),
                float(_typed(entry, "std", (int, float))),
                _typed(entry, "count", int),
            ),
            Provenance(
                _typed(entry, "encoder_fingerprint", (str, type(None))),
                _typed(entry, "dimension", (int, type(None))),
                _typed(entry, "score_kind", (str, type(None))),
            ),
        )
    return Calibration(
        modalities,
        method=_typed(document, "method", str),
        questions=_typed(document, "questions", int),
        created=datetime.fromisoformat(_typed(document, "created", str)),
    )


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
