"""The recorder of open_clip, run on a tiny checkpoint: a file of its own, since open_clip wants torchvision."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

if importlib.util.find_spec("open_clip") is None:
    pytest.skip("open_clip wants torchvision: `make test-open-clip` runs this elsewhere", allow_module_level=True)

from tiny_checkpoints.open_clip import register_tower, save_tiny_open_clip, save_tiny_siglip
from torchvision_shim import make_torchvision_importable
from weights.comparing import ours, recorded
from weights.originals import ORIGINALS
from weights.record import TEXTS, record

make_torchvision_importable()
register_tower()


@pytest.mark.parametrize("save", [save_tiny_open_clip, save_tiny_siglip])
def test_recorded_vectors_are_ours(save, tmp_path: Path) -> None:
    folder, name = save(tmp_path / "checkpoint"), "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    original = ORIGINALS[name]
    path = record(name, original, tmp_path, checkpoint=str(folder), texts=TEXTS)
    encoder = ours(f"local-dir:{folder}", original)
    recorded(path, original, encoder)
    other = save(tmp_path / "other", seed=1)
    with pytest.raises(AssertionError, match="texts, open_clip"):
        recorded(path, original, ours(f"local-dir:{other}", original))
