"""Tiny OpenCLIP checkpoints of the real classes, with the files that ``open_clip.push_to_hf_hub`` uploads."""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from typing import Any

from tiny_checkpoints.weights import randomize
from tiny_models import _write_bert_tokenizer, _write_clip_tokenizer

IMAGE_SIZE = 32
DIMENSION = 16
TOKENS = 12
"""Positions of both text towers, marks included."""
SIGLIP_TOWER = "commonscale_tiny_siglip"
"""The name under which timm knows the image tower of the tiny SigLIP."""

_VISION = {"image_size": IMAGE_SIZE, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8}
_TEXT = {"context_length": TOKENS, "width": 24, "heads": 3, "layers": 2}


def save_tiny_open_clip(folder: Path | str, *, quick_gelu: bool = False, seed: int = 0) -> Path:
    """Write a CLIP with open_clip's own tokenizer, like laion/CLIP-ViT-B-32-laion2B-s34B-b79K; return its folder."""
    from open_clip import CLIP

    config: dict[str, Any] = {"embed_dim": DIMENSION, "vision_cfg": _VISION, "text_cfg": {**_TEXT, "vocab_size": 49408}}
    if quick_gelu:
        config["quick_gelu"] = True
    pixels = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    return _save(CLIP(**config), config, Path(folder), _write_clip_tokenizer, pixels, seed)


def save_tiny_siglip(folder: Path | str, *, seed: int = 0) -> Path:
    """Write a CustomTextCLIP like timm/ViT-B-16-SigLIP: a tower of timm with attention pooling, no causal mask."""
    from open_clip import CustomTextCLIP

    register_tower()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = {
        **_TEXT,
        "vocab_size": 128,
        "hf_tokenizer_name": "someone/tiny-siglip",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    }
    vision = {
        "image_size": IMAGE_SIZE,
        "timm_model_name": SIGLIP_TOWER,
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    }
    config = {"embed_dim": DIMENSION, "init_logit_bias": -10, "vision_cfg": vision, "text_cfg": text}
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    model = CustomTextCLIP(**config)
    return _save(model, {**config, "custom_text": True}, folder, _write_bert_tokenizer, pixels, seed)


def save_tiny_bert(folder: Path | str, *, seed: int = 0) -> Path:
    """Write a CustomTextCLIP like laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k: a text tower of transformers.

    The folder ``bert`` inside is what the hub has under the name of that tower, ``someone/tiny-bert``.
    """
    from open_clip import CustomTextCLIP
    from transformers import BertConfig

    folder = Path(folder)
    tower = folder / "bert"
    tower.mkdir(parents=True, exist_ok=True)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertConfig(**shape, vocab_size=_write_bert_tokenizer(tower), max_position_embeddings=64).save_pretrained(tower)
    text = {
        "hf_model_name": "someone/tiny-bert",
        "hf_tokenizer_name": "someone/tiny-bert",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "context_length": TOKENS,
    }
    config = {"embed_dim": DIMENSION, "vision_cfg": _VISION, "text_cfg": text}
    local = {**config, "text_cfg": {**text, "hf_model_name": str(tower), "hf_model_pretrained": False}}
    pixels = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    return _save(CustomTextCLIP(**local), {**config, "custom_text": True}, folder, _write_bert_tokenizer, pixels, seed)


def register_tower() -> None:
    """Make the image tower known to timm: vit_base_patch16_siglip_224, only smaller."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    if SIGLIP_TOWER in timm.list_models():
        return

    def commonscale_tiny_siglip(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
        shape = {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": DIMENSION, "depth": 2, "num_heads": 2}
        wanted = {key: value for key, value in kwargs.items() if key in ("num_classes", "global_pool")}
        return VisionTransformer(**shape, class_token=False, **wanted)

    timm.models.register_model(commonscale_tiny_siglip)


def write_clip_vocabulary(folder: Path) -> Path:
    """Write the vocabulary that open_clip brings along, as OpenAI published it, in the files of the hub's CLIP."""
    source = Path(importlib.import_module("open_clip").__file__ or "").with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(source.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in own] + [chr(256 + place) for place in range(256 - len(own))]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(line.split()) for line in lines)]
    tokens = [*pieces, "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]), encoding="utf-8")
    return folder


def _save(model: Any, config: dict[str, Any], folder: Path, write_tokenizer: Any, pixels: Any, seed: int) -> Path:
    import torch
    from open_clip import set_model_preprocess_cfg
    from open_clip.tokenizer import HFTokenizer

    randomize(model, seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if ".ln_" in f".{name}" and name.endswith("weight"):
                weights.add_(1)  # a layer norm by another name
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    set_model_preprocess_cfg(model, {"size": IMAGE_SIZE, **pixels})
    # The package has a function of this name, too.
    hub = importlib.import_module("open_clip.push_to_hf_hub")
    hub.save_for_hf(model, HFTokenizer(str(folder)), config, str(folder), safe_serialization=True)
    return folder
