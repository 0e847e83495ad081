"""One model's weights under another config: other vectors need another fingerprint, equal ones the same."""

from __future__ import annotations

import copy as copies
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from commonscale.encoders import BatchedEncoder

Load = Callable[[Path], BatchedEncoder]
TEXTS = ["the red dog", "cat", "two dog on grass"]


def with_settings(folder: Path, copy: Path, settings: dict[str, Any], file: str = "config.json") -> Path:
    """Copy a checkpoint and set values in its config; ``text_config.hidden_act`` is one inside a tower's."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / file).read_text())
    for path, value in settings.items():
        *inside, name = path.split(".")
        place = config
        for key in inside:
            place = place[key]
        place[name] = copies.deepcopy(value)
    (copy / file).write_text(json.dumps(config))
    return copy


def vectors_of(encoder: BatchedEncoder, *, pictures: bool = True) -> np.ndarray:
    """Encode a few texts and pictures."""
    texts = encoder.encode_texts(TEXTS)
    if not pictures:
        return texts
    draws = np.random.default_rng(5)
    given = [Image.fromarray(draws.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in ((40, 57), (32, 32))]
    return np.concatenate([texts, encoder.encode_images(given)])


def check_settings_count(
    folder: Path, place: Path, load: Load, *settings: dict[str, Any], file: str = "config.json", pictures: bool = True
) -> None:
    """Check of each group of settings that it changes vectors and the fingerprint, which no two of them share."""
    plain = load(folder)
    prints, vectors = [plain.fingerprint], vectors_of(plain, pictures=pictures)
    for number, changed in enumerate(settings):
        other = load(with_settings(folder, place / f"other-{number}", changed, file))
        # Else the setting would prove nothing.
        assert np.abs(vectors_of(other, pictures=pictures) - vectors).max() > 1e-6, changed
        prints.append(other.fingerprint)
    assert len(set(prints)) == len(prints), dict(zip(prints[1:], settings, strict=True))
