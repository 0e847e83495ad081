"""The tiny CLIP and dual encoder of ``tiny_models``, with weights in which every parameter matters."""

from __future__ import annotations

from pathlib import Path

from tiny_checkpoints.weights import randomize
from tiny_models import save_tiny_clip, save_tiny_dual_encoder


def save_random_clip(folder: Path, seed: int = 0) -> Path:
    """Write a CLIPModel and return its folder."""
    return _randomized("CLIPModel", save_tiny_clip(folder), seed)


def save_random_dual_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a ViT beside a BERT and return its folder."""
    return _randomized("VisionTextDualEncoderModel", save_tiny_dual_encoder(folder), seed)


def _randomized(class_name: str, folder: Path, seed: int) -> Path:
    import transformers

    model = getattr(transformers, class_name).from_pretrained(folder)
    randomize(model, seed)
    model.save_pretrained(folder)
    return folder
