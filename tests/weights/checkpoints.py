"""Checkpoints in the local Hugging Face cache: whether they are there, and their learned scale and bias."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

WEIGHTS = (
    "model.safetensors",
    "pytorch_model.bin",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "0_CLIPModel/model.safetensors",
    "0_CLIPModel/pytorch_model.bin",
    "longclip-B.pt",
    "longclip-L.pt",
)
"""Where weights lie in the repositories of all families but OpenCLIP."""

OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Where they lie for OpenCLIP, often beside the same weights for transformers."""


def weights_of(name: str, files: Sequence[str] = WEIGHTS) -> Path | None:
    """Find a checkpoint's weights.

    Args:
        name: a hub id, looked for in the local cache only, or a folder.
        files: what they may be called.

    Returns:
        The first file that is there; None if none is.
    """
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        if Path(name).is_dir():
            found: object = str(Path(name) / file) if (Path(name) / file).is_file() else None
        else:
            found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            return Path(found)
    return None


def require_cached(name: str, prefix: str = "") -> Path:
    """Give a checkpoint's weights, or skip the test that needs them.

    Args:
        name: its hub id, or a folder.
        prefix: what ``load_encoder`` needs before it; ``"hf-hub:"`` wants OpenCLIP's own files.
    """
    found = weights_of(name, OPEN_CLIP_WEIGHTS if prefix else WEIGHTS)
    if found is None:
        pytest.skip(f"{name} is not in the local Hugging Face cache; get it with: hf download {name}")
    return found


def scale_and_bias(weights: Path, if_absent: float | None = None) -> tuple[float, float]:
    """Read what a model learned to multiply cosines with, and to add.

    Args:
        weights: a file with ``logit_scale``, the logarithm of the factor, and maybe ``logit_bias``.
        if_absent: the logarithm of the factor where the file has none.

    Returns:
        The factor (not its logarithm) and the bias, 0 where there is none.
    """
    learned = _scalars(weights, ("logit_scale", "logit_bias"))
    scale = learned.get("logit_scale", if_absent)
    assert scale is not None, f"{weights} has no logit_scale; it has {learned}"
    return math.exp(scale), learned.get("logit_bias", 0.0)


def _scalars(weights: Path, names: Sequence[str]) -> dict[str, float]:
    if weights.suffix == ".json":
        parts = json.loads(weights.read_text(encoding="utf-8"))["weight_map"]
        found = {name: _scalars(weights.with_name(parts[name]), [name]) for name in names if name in parts}
        return {name: value[name] for name, value in found.items()}
    if weights.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(weights, "pt") as file:
            return {name: float(file.get_tensor(name)) for name in names if name in file.keys()}  # noqa: SIM118 - no dict
    import torch

    state = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    return {name: float(state[name]) for name in names if name in state}
