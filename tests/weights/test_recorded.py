"""Published checkpoints, loaded by load_encoder, give the vectors that the original implementation gave to the user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weights.checkpoints import require_cached
from weights.comparing import ours, recorded
from weights.originals import ORIGINALS
from weights.record import FOLDER, file_of

pytestmark = pytest.mark.weights


@pytest.mark.parametrize("name", sorted(ORIGINALS))
def test_recorded_vectors(name: str) -> None:
    file: Path = file_of(name, FOLDER)
    if not file.is_file():
        pytest.skip(f"nothing is recorded of {name}; with its weights: python tests/weights/record.py {name}")
    require_cached(name, ORIGINALS[name].prefix)
    assert json.loads(file.read_text(encoding="utf-8"))["name"] == name
    recorded(file, ORIGINALS[name], ours(ORIGINALS[name].prefix + name, ORIGINALS[name]))
