"""Writing diagnoses into a folder: data, figures and the page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import commonscale
from commonscale.core.files import write_text_atomically
from commonscale.diagnostics.as_json import SCHEMA_VERSION, as_json
from commonscale.diagnostics.diagnosis import Diagnosis
from commonscale.diagnostics.page import build_report, folder_names
from commonscale.diagnostics.report import write_report

DATA = "diagnosis.json"


def write_diagnoses(diagnoses: Sequence[Diagnosis], folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``diagnosis.json``, ``report.html`` and the figures, each file whole or not at all.

    Args:
        diagnoses: at least one.
        folder: where; created if needed.

    Returns:
        The files written: the data first, then the page, then the figures.

    Raises:
        MissingExtraError: if matplotlib or Jinja is not installed.
    """
    pictured = write_report(build_report(diagnoses), folder)
    data = {
        "schema_version": SCHEMA_VERSION,
        "commonscale": commonscale.__version__,
        "created": datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        "diagnoses": {
            name: {"source": diagnosis.name} | as_json(diagnosis)
            for name, diagnosis in zip(folder_names(diagnoses), diagnoses, strict=True)
        },
    }
    path = Path(folder) / DATA
    write_text_atomically(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
    return [path, *pictured]
