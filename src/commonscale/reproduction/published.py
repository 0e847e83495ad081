"""What the papers published, as data, and which encoder is which of their models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

MODELS: Mapping[str, tuple[str, ...]] = {
    "CLIP (ViT-B/32)": ("openai/clip-vit-base-patch32",),
    "CLIP (ViT-L/14)": ("openai/clip-vit-large-patch14",),
    "Long-CLIP-B": ("BeichenZhang/LongCLIP-B",),
    "Long-CLIP-L": ("BeichenZhang/LongCLIP-L",),
    "BLIP": ("Salesforce/blip-itm-base-coco",),
    "Cohere Embed 3": ("cohere.embed-english-v3", "embed-english-v3.0"),
    "E5-V": ("royokong/e5-v",),
}
"""The models of Yamashita et al. 2025, in the order of their tables, and the names they are loaded by (appendix B)."""

MIXBENCH_MODELS: Mapping[str, tuple[str, ...]] = {
    "CLIP B/16": ("openai/clip-vit-base-patch16",),
    "CLIP L/14": ("openai/clip-vit-large-patch14",),
    "OpenCLIP B/16": ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K",),
    "OpenCLIP L/14": ("laion/CLIP-ViT-L-14-laion2B-s32B-b82K",),
    "SigLIP so400m": ("google/siglip-so400m-patch14-384",),
}
"""The models of GR-CLIP and names of checkpoints that fit; the paper's figures do not name the checkpoints."""

METHODS: Mapping[str, str] = {"Cos": "cosine", "Std": "labeled", "Ours": "standardized"}
"""The paper's words for its methods, and ours."""


@cache
def published() -> Mapping[str, Any]:
    """Give the published numbers.

    Returns:
        ``table3`` and ``table6``: ``{model: {method: {data set: {"text" | "image": {figure: value}}}}}``; ``table4``:
        ``{model: {method: {data set: {figure: value}}}}``; ``table5``: ``{model: {data set: {modality: skewness}}}``;
        ``mixbench``: ``{model: {subset: {"cosine" | "centered": NDCG@10}}}``. Recall, MRR and NDCG of the first three
        are percentages; ``source`` and ``mixbench_source`` say where they come from.
    """
    text = resources.files("commonscale.reproduction").joinpath("published.json").read_text("utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def model_of(encoder: str, models: Mapping[str, tuple[str, ...]]) -> str:
    """Give the paper's name of an encoder; an encoder that it has not is called by its own name.

    Args:
        encoder: hub id, service name or folder. A folder counts as what its last part says
            (``clip-vit-base-patch32``).
        models: ``MODELS`` or ``MIXBENCH_MODELS``.
    """
    last = encoder.replace("\\", "/").rstrip("/").rpartition("/")[2]
    for model, names in models.items():
        if encoder in names or last in {name.rpartition("/")[2] for name in names}:
            return model
    return last
